// A program for benchmarks: nodes that join an agent of another process, and report to it until their standard input ends.
// Its options are JSON in its first argument; prints "joined" when all have sent a report.

import { type JoiningNodes, joinNodes } from "./join-nodes.ts";

/** What the process is started with. */
export interface JoinedNodesOptions extends JoiningNodes {
  /** Port of the agent for nodes. */
  readonly nodePort: number;
}

const options = JSON.parse(process.argv[2] ?? "") as JoinedNodesOptions;
await joinNodes({ nodePort: () => options.nodePort }, options);
process.stdout.write("joined\n");
process.stdin.on("end", () => process.exit(0)).resume();
