import type { ClusterDocument } from "@berth/proto";
import { BerthError, type createHttpServer, losslessBody, parse } from "@berth/service-kit";
import { Type } from "typebox";
import type { BlockBook } from "../blocks/block-book.ts";
import type { ObservedFacts } from "../blocks/block-document.ts";
import { BlockQueries, type BlockScene, wholeDocumentText } from "../blocks/block-query.ts";
import type { BlockRecord } from "../blocks/block-records.ts";
import { requestedProgram } from "../blocks/entry-reading.ts";
import { nearIds } from "../blocks/near-ids.ts";
import { parseBlockQuery, parsePage } from "../blocks/query-request.ts";
import type { EntryCheck } from "../blocks/updated-record.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ENTRY_UPDATES, refuseOtherCluster } from "./block-updates.ts";
import type { ActionGovernor } from "./governed-action.ts";
import { goneSignal } from "./operation-answers.ts";

type HttpServer = ReturnType<typeof createHttpServer>;

/** Of a reply what is needed here. */
interface Reply {
  type(contentType: string): unknown;
  readonly raw: { once(event: "close", listener: () => void): unknown };
}

const wholeNumber = Type.Optional(Type.String({ pattern: "^\\d{1,9}$" }));

const ListParameters = Type.Object(
  { limit: wholeNumber, skip: wholeNumber },
  { additionalProperties: false },
);

/** What {@link addBlockRoutes} serves from. */
export interface BlockRoutesOptions {
  readonly blocks: BlockBook;
  /** The cluster document as it is now. */
  readonly clusterDocument: () => ClusterDocument;
  /** What the runtime tells of instances, by instance id. */
  readonly observed: () => ReadonlyMap<string, ObservedFacts>;
  /** Lets pre-checks decide on updates; without it every one is done. */
  readonly governor?: Pick<ActionGovernor, "governUpdate">;
  /** Says what it can never run; without it an entry may name any program. */
  readonly runtime?: Pick<Runtime, "refusal">;
  /** Bounds of lists; a test's own. */
  readonly queries?: BlockQueries;
}

/** Where the routes answer: at the root and below `urlMap.blocksQuery`. */
export const BLOCKS_PREFIXES = ["", "/blocks"];

/**
 * The blocks of this cluster, in the shapes of the seed and of the existing deployment: `GET /blocks` (in the order of
 * their ids; `?limit=` and `?skip=` for a part), `GET /blocks/<id>`, `POST /blocks/query`, and `PUT /block/update/<id>`
 * with its sub-routes.
 *
 * An update changes the record only. Instances that run do not see new `parameters`: the action `parameter_update`
 * reaches them; neither do new bounds start or end instances by themselves.
 */
export function addBlockRoutes(server: HttpServer, options: BlockRoutesOptions): void {
  const { queries = new BlockQueries() } = options;
  for (const prefix of BLOCKS_PREFIXES) {
    addReadingRoutes(server, prefix, { ...options, queries });
    addUpdateRoutes(server, prefix, options);
  }
}

function addReadingRoutes(
  server: HttpServer,
  prefix: string,
  options: BlockRoutesOptions & { readonly queries: BlockQueries },
): void {
  const { queries } = options;
  server.get(`${prefix}/blocks`, async (request, reply) => {
    const { limit, skip } = parse(ListParameters, request.query);
    const page = parsePage({ limit: numberOf(limit), skip: numberOf(skip) }, "");
    return answer(reply, await queries.list(page, sceneOf(options)));
  });
  server.post(`${prefix}/blocks/query`, async (request, reply) =>
    answer(reply, await queries.query(parseBlockQuery(request.body), sceneOf(options))),
  );
  server.get<{ Params: { id: string } }>(`${prefix}/blocks/:id`, async ({ params }, reply) =>
    answer(reply, wholeDocumentText(known(options, params.id), sceneOf(options))),
  );
}

function addUpdateRoutes(server: HttpServer, prefix: string, options: BlockRoutesOptions): void {
  const { blocks } = options;
  const path = `${prefix}/block/update/:id`;
  const check = programCheck(options);
  const update = async (id: string, asked: Readonly<Record<string, unknown>>, reply: Reply) => {
    known(options, id);
    const governed = await options.governor?.governUpdate(id, asked, {
      accept: (instead) => blocks.tryUpdate(id, instead, check),
      signal: goneSignal(reply),
    });
    const { update: change, warnings } = governed ?? { update: asked, warnings: [] };
    const record = await blocks.update(id, change, check);
    return answer(reply, wholeDocumentText(record, sceneOf(options)), warnings);
  };
  server.put<{ Params: { id: string } }>(path, async (request, reply) =>
    update(request.params.id, losslessBody(request), reply),
  );
  for (const [name, updateOf] of ENTRY_UPDATES) {
    server.put<{ Params: { id: string } }>(`${path}/${name}`, async (request, reply) =>
      update(request.params.id, updateOf(losslessBody(request)), reply),
    );
  }
  server.put<{ Params: { id: string } }>(`${path}/cluster`, async (request, reply) => {
    const body = losslessBody(request);
    const record = known(options, request.params.id);
    refuseOtherCluster(body, options.clusterDocument().id);
    return answer(reply, wholeDocumentText(record, sceneOf(options)));
  });
}

/** Refuses an update that takes a block's program away, or names one that can never run here. */
function programCheck({ runtime }: BlockRoutesOptions): EntryCheck {
  return (changed, before) => {
    const refusal = runtime?.refusal(requestedProgram(changed));
    if (refusal === undefined || runtime?.refusal(requestedProgram(before)) !== undefined) return;
    throw new BerthError("PRECONDITION_FAILED", `component: ${refusal}`);
  };
}

/** The envelope around data that is JSON text already: its numbers stay as they were written. */
function answer(reply: Reply, dataText: string, warnings: readonly string[] = []): string {
  reply.type("application/json; charset=utf-8");
  const told = warnings.length === 0 ? "" : `,"warnings":${JSON.stringify(warnings)}`;
  return `{"success":true,"data":${dataText}${told}}`;
}

function sceneOf({ blocks, clusterDocument, observed }: BlockRoutesOptions): BlockScene {
  return {
    blocks: blocks.blocks(),
    instancesOf: (blockId) => blocks.instances(blockId),
    observed: observed(),
    cluster: clusterDocument(),
  };
}

function known({ blocks }: BlockRoutesOptions, id: string): BlockRecord {
  const record = blocks.block(id);
  if (record !== undefined) return record;
  const near = nearIds(
    id,
    blocks.blocks().map((block) => block.id),
  );
  const names = near.map((name) => JSON.stringify(name)).join(", ");
  const message = `no block ${JSON.stringify(id)} in this cluster`;
  throw new BerthError("NOT_FOUND", near.length === 0 ? message : `${message}; near: ${names}`);
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}
