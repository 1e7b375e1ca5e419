import { readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { build } from "esbuild";

/** What is bundled, and where to. */
export interface BundleOptions {
  /** The program's main module. */
  readonly entry: string;
  /** The file that is written; it has to end in .mjs, or an older Node takes it for CommonJS. */
  readonly outfile: string;
  /** Name of the program in the message that an older Node prints. */
  readonly name: string;
}

const PINNED_MAJOR = pinnedMajor();

/**
 * Writes a program with all it imports into one ES module that needs nothing but Node. The names of
 * functions stay, for stack traces. Older versions of Node parse the file (nothing newer than their
 * syntax is left in it) and say which version it needs.
 */
export async function bundle({ entry, outfile, name }: BundleOptions): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node18",
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "eof",
    logLevel: "warning",
    banner: { js: banner(name) },
  });
}

/** Runs before the bundled modules; CommonJS packages among them call `require` for Node's own. */
function banner(name: string): string {
  return [
    "#!/usr/bin/env node",
    'import { createRequire as createRequireOfBundle } from "node:module";',
    'import bundleProcess from "node:process";',
    `if (Number(bundleProcess.versions.node.split(".")[0]) < ${PINNED_MAJOR}) {`,
    `  bundleProcess.stderr.write("${name}: needs Node ${PINNED_MAJOR} or newer, and this is " + bundleProcess.version + "\\n");`,
    "  bundleProcess.exit(1);",
    "}",
    "const require = createRequireOfBundle(import.meta.url);",
  ].join("\n");
}

function pinnedMajor(): number {
  const manifest = readFileSync(path.join(import.meta.dirname, "../package.json"), "utf8");
  const version: string = JSON.parse(manifest).dependencies.node;
  return Number(version.split(".")[0]);
}

/** `node scripts/bundle.ts <name> <entry> <outfile>`, as the `bundle` scripts of workspaces call it. */
if (import.meta.main) {
  const [name, entry, outfile] = process.argv.slice(2);
  if (name === undefined || entry === undefined || outfile === undefined) {
    console.error("usage: bundle.ts <name> <entry> <outfile>");
    process.exit(2);
  }
  await bundle({ name, entry, outfile });
}
