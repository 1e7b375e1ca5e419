import {
  type DocumentStore,
  type Logger,
  type StoredDocument,
  validate,
  type Write,
} from "@berth/service-kit";
import { Type } from "typebox";

const schema = Type.Object({ generation: Type.Integer({ minimum: 1 }) });

/** How often the books were put right, as the store has it. */
export interface StoredGeneration {
  /** Undefined when the store has none, or one that is not ours. */
  readonly generation: number | undefined;
  /** The write that sets another one, if the document is still as it was read. */
  readonly set: (generation: number) => Write;
}

/** Reads the generation of the ledger. */
export async function readGeneration({
  store,
  orgId,
  logger,
}: {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly logger: Logger;
}): Promise<StoredGeneration> {
  const key = { orgId, collection: "ledger", id: "ledger" };
  const document = await store.get(key);
  const set = (generation: number): Write =>
    document === undefined
      ? { kind: "insert", key, body: { generation } }
      : { kind: "replace", key, body: { generation }, ifRevision: document.revision };
  return { generation: generationOf(document, logger), set };
}

function generationOf(document: StoredDocument | undefined, logger: Logger): number | undefined {
  if (document === undefined) return undefined;
  const checked = validate(schema, document.body);
  if (checked.kind === "valid") return checked.value.generation;
  logger.error("the ledger's generation is damaged", { why: checked.message });
  return undefined;
}
