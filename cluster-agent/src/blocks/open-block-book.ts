import { allPages, type Logger } from "@berth/service-kit";
import { BlockBook, type BlockBookDeps } from "./block-book.ts";
import { type BookCollection, type ReadOutcome, readBlock, readInstance } from "./block-records.ts";

/** What {@link openBlockBook} needs. */
export interface OpenBlockBookDeps extends BlockBookDeps {
  readonly logger: Logger;
}

/** Opens the records of blocks and instances; what is not in our shape is logged and left as it is. */
export async function openBlockBook(deps: OpenBlockBookDeps): Promise<BlockBook> {
  const unreadable = new Set<string>();
  const blocks = await loadAll("blocks", readBlock, { deps, unreadable });
  const instances = await loadAll("instances", readInstance, { deps, unreadable });
  return new BlockBook(deps, { blocks, instances, unreadable });
}

async function loadAll<T>(
  collection: BookCollection,
  read: (id: string, body: unknown) => ReadOutcome<T>,
  { deps, unreadable }: { readonly deps: OpenBlockBookDeps; readonly unreadable: Set<string> },
): Promise<readonly T[]> {
  const { store, orgId, logger } = deps;
  const records: T[] = [];
  for await (const { id, body } of allPages<unknown>(store, { orgId, collection })) {
    const outcome = read(id, body);
    if (outcome.kind === "read") {
      records.push(outcome.record);
      continue;
    }
    unreadable.add(`${collection}/${id}`);
    const { why } = outcome;
    logger.error("a stored document cannot be read and is left as it is", { collection, id, why });
  }
  return records;
}
