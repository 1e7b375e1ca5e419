import { BerthError, type createHttpServer } from "@berth/service-kit";

type HttpServer = ReturnType<typeof createHttpServer>;

/** Routes of the seed that this version does not serve yet, with the prefixes of `urlMap`. */
const LATER = [
  ["GET", "/check_stability", ""],
  ["GET", "/check_stability", "/controller"],
  ["POST", "/check_stability", ""],
  ["POST", "/check_stability", "/controller"],
  ["POST", "/mgmt", ""],
  ["POST", "/mgmt", "/mgmt"],
  ["POST", "/vdag-controller", ""],
  ["POST", "/vdag-controller", "/controller"],
] as const;

/** Answers the routes that come with a later version, with 501 and a message that says so. */
export function addLaterRoutes(server: HttpServer): void {
  for (const [method, route, prefix] of LATER) {
    server.route({
      method,
      url: `${prefix}${route}`,
      handler: async () => {
        throw new BerthError("UNIMPLEMENTED", `${route} comes with a later version of Berth`);
      },
    });
  }
}
