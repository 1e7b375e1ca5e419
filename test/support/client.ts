import { WebSocket } from "ws";

/** Sends text frames (bytes as they are) on one WebSocket and gives as many replies. */
export function exchange(
  url: string,
  frames: readonly (string | Buffer)[],
  headers = {},
): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers });
    const replies: unknown[] = [];
    socket.on("open", () => {
      for (const frame of frames) socket.send(frame, { binary: false });
    });
    socket.on("message", (data) => {
      replies.push(JSON.parse(String(data)));
      if (replies.length < frames.length) return;
      socket.close();
      resolve(replies);
    });
    socket.on("error", reject);
    socket.on("close", (code) => reject(new Error(`closed with ${code}`)));
  });
}

/** The JSON of an answer, loosely typed: the assertions say what it must hold. */
export async function answerOf(response: Response | Promise<Response>): Promise<{
  success: boolean;
  message: string;
  error: string;
  data: Record<string, unknown> & { reasons: string[] };
  nodes_status: unknown[];
  nodes: { nodeData: { memory: number }[] };
}> {
  return JSON.parse(await (await response).text());
}

/** Posts a body to the REST port of a fleet or of a control-plane. */
export function post(
  fleet: { readonly ports: { readonly http: number } },
  route: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return fetch(`http://127.0.0.1:${fleet.ports.http}${route}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", ...headers },
  });
}
