import { readFileSync, writeFileSync } from "node:fs";

/**
 * `npm run lock`: adds to package-lock.json the optional platform packages that npm left out because
 * the registry at hand does not carry them (builds for android, freebsd, …). Without them `npm ci`
 * calls the lock file incomplete on machines whose registry does. Run it after `npm install`.
 */
const FILE = new URL("../package-lock.json", import.meta.url);
const SYSTEMS = ["android", "darwin", "linux", "win32", "freebsd", "openharmony"];
const PROCESSORS: readonly (readonly [string, string])[] = [
  ["arm64", "arm64"],
  ["aarch64", "arm64"],
  ["armv7", "arm"],
  ["arm-", "arm"],
  ["x64", "x64"],
  ["ppc64", "ppc64"],
  ["s390x", "s390x"],
  ["riscv64", "riscv64"],
];

interface LockedPackage {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly dev?: boolean;
  readonly engines?: unknown;
  readonly [key: string]: unknown;
}

const lock = JSON.parse(readFileSync(FILE, "utf8"));
const packages: Record<string, LockedPackage> = lock.packages;
const added: string[] = [];
for (const [owner, entry] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    const locked = key in packages || `${owner}/${key}` in packages;
    const platform = platformOf(name);
    if (locked || platform === undefined || !/^\d+\.\d+\.\d+$/.test(version)) continue;
    const { dev, engines } = entry;
    packages[key] = {
      version,
      ...platform,
      ...(dev ? { dev } : {}),
      optional: true,
      ...(engines ? { engines } : {}),
    };
    added.push(name);
  }
}
const { "": root, ...others } = packages;
const sorted = Object.fromEntries(Object.entries(others).sort(([a], [b]) => (a < b ? -1 : 1)));
lock.packages = { "": root, ...sorted };
writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`added ${added.length} packages: ${added.join(", ") || "none were missing"}`);

function platformOf(name: string): { os: string[]; cpu: string[]; libc?: string[] } | undefined {
  const base = name.slice(name.lastIndexOf("/") + 1);
  const system = SYSTEMS.find((known) => base.includes(known));
  const processor = PROCESSORS.find(([part]) => base.includes(part))?.[1];
  if (system === undefined || processor === undefined) return undefined;
  const libc = base.endsWith("musl") ? { libc: ["musl"] } : {};
  return { os: [system], cpu: [processor], ...libc };
}
