import { type Answer, ask } from "./agent-client.ts";

/** What an agent says of its blocks, what its ledger holds, and what runs, all at one moment. */
export interface Books {
  /** Operations that are not over. */
  readonly open: readonly OpenOperation[];
  readonly records: readonly Held[];
  readonly allocations: readonly (Held & { readonly orphan: boolean })[];
  readonly leases: readonly { readonly lease_id: string; readonly gpus: readonly Device[] }[];
  /** `block/instance` of each instance that runs. */
  readonly running: readonly string[];
}

/** An operation, in what of its document tells how far it has come. */
export interface OpenOperation {
  readonly operation_id: string;
  readonly action: string;
  readonly block_id: string;
  readonly state: string;
  readonly step: string | null;
  readonly attempts: number;
}

/** An instance, and the devices that are its own. */
export interface Held {
  readonly name: string;
  readonly node: string;
  readonly uuids: readonly string[];
  /** MiB of each device; absent of whole ones. */
  readonly shares: readonly (number | undefined)[];
}

interface Device {
  readonly uuid: string;
  readonly memory?: number;
}

const GPU_MEMORY_MIB = 81_920;

/** Reads the books; undefined when the agent does not answer. `running` tells what runs, as its names. */
export async function readBooks(
  url: string,
  running: () => Promise<readonly string[]>,
): Promise<Books | undefined> {
  const paths = ["/operations?limit=1000", "/blocks", "/allocations", "/leases"];
  const answers = await Promise.all(paths.map((one) => ask(`${url}${one}`, "GET")));
  if (answers.some((one) => one?.status !== 200)) return undefined;
  const [operations = [], blocks = [], allocations = [], leases = []] = answers.map(listOf);
  return {
    open: operations.filter(({ state }) => !["done", "failed", "abandoned"].includes(state)),
    records: blocks.flatMap(({ instances }) => instances).map(recordOf),
    allocations: allocations.map((one) => ({
      ...{ name: `${one.block_id}/${one.instance_id}`, node: one.node_id, orphan: one.orphan },
      ...devicesOf(one.gpus),
    })),
    leases,
    running: await running(),
  };
}

/** Why the books cannot be true, whatever is going on; nothing when they can. Leases were read at another moment. */
export function impossibilities({ allocations, leases }: Books): readonly string[] {
  return [...givenTwice(allocations), ...givenTwice(leases.map(leaseHeld))];
}

function givenTwice(holders: readonly Omit<Held, "node">[]): readonly string[] {
  const takes = holders.flatMap(({ name, uuids, shares }) => {
    return uuids.map((uuid, place) => ({ name, uuid, share: shares[place] }));
  });
  return [...Map.groupBy(takes, ({ uuid }) => uuid)].flatMap(([uuid, all]) => {
    const names = all.map(({ name }) => name).join(" and ");
    if (all.length > 1 && all.some(({ share }) => share === undefined)) {
      return [`${uuid} is given to ${names}`];
    }
    const taken = all.reduce((sum, { share = 0 }) => sum + share, 0);
    return taken > GPU_MEMORY_MIB ? [`${taken} MiB of ${uuid} are given to ${names}`] : [];
  });
}

function leaseHeld({ lease_id: name, gpus }: Books["leases"][number]): Omit<Held, "node"> {
  return { name, ...devicesOf(gpus) };
}

/** What does not agree once everything has come to rest. */
export function disagreements(
  books: Books,
  { mayHaveOrphans }: { mayHaveOrphans: boolean },
): readonly string[] {
  const { open, records, allocations, leases, running } = books;
  const problems = [...givenTwice([...allocations, ...leases.map(leaseHeld)])];
  problems.push(...open.map(openText));
  problems.push(...leases.map((one) => `lease ${one.lease_id} is left`));
  const adopted = allocations.filter(({ orphan }) => orphan);
  if (!mayHaveOrphans) problems.push(...adopted.map(({ name }) => `${name} is an orphan`));
  const kept = allocations.filter(({ orphan }) => !orphan);
  problems.push(...differences("recorded", records.map(show), "allocated", kept.map(show)));
  const held = allocations.map(({ name }) => name);
  problems.push(...differences("running", running, "allocated", held));
  return problems;
}

function openText(one: OpenOperation): string {
  const { operation_id: id, action, block_id: block, state, step, attempts } = one;
  return `operation ${id}, ${action} of ${block}, is ${state} in its attempt ${attempts}: ${step}`;
}

function differences(
  what: string,
  some: readonly string[],
  other: string,
  others: readonly string[],
): readonly string[] {
  const missing = (from: readonly string[], those: readonly string[], text: string) =>
    those.filter((one) => !from.includes(one)).map((one) => `${one} ${text}`);
  const twice = some.filter((one, place) => some.indexOf(one) !== place);
  return [
    ...missing(others, some, `is ${what} and not ${other}`),
    ...missing(some, others, `is ${other} and not ${what}`),
    ...twice.map((one) => `${one} is ${what} twice`),
  ];
}

function show({ name, node, uuids }: Held): string {
  return `${name} on ${node} with [${[...uuids].sort()}]`;
}

// biome-ignore lint/suspicious/noExplicitAny: documents are looked at field by field, as clients without types do
function listOf(answer: Answer | undefined): readonly any[] {
  return answer?.body.data ?? [];
}

// biome-ignore lint/suspicious/noExplicitAny: the same
function recordOf(one: any): Held {
  const { block_id: block, instance_id: instance, node_id: node, gpu_uuids: uuids } = one;
  return { name: `${block}/${instance}`, node, uuids, shares: [] };
}

function devicesOf(gpus: readonly Device[]): Pick<Held, "uuids" | "shares"> {
  return { uuids: gpus.map(({ uuid }) => uuid), shares: gpus.map(({ memory }) => memory) };
}
