/**
 * The layering of the repository as rules; `npm run layers` checks them. The picture is in the README,
 * the reasons are in docs/adr.
 */

/**
 * What each workspace may import of the others. A program never imports a program, but for the
 * simulator: it is made of the agents themselves. Every test may use service-kit's testing folder.
 */
const PACKAGES = {
  proto: [],
  "service-kit": [],
  "policy-sandbox": ["service-kit"],
  "node-agent": ["proto", "service-kit"],
  "cluster-agent": ["proto", "service-kit", "policy-sandbox"],
  simulator: ["proto", "service-kit", "node-agent", "cluster-agent"],
  "control-plane": ["proto", "service-kit", "policy-sandbox"],
  cli: [],
};

/**
 * Floors of the programs, top down. A room (a folder or file directly below src) uses rooms on lower
 * floors only, never its neighbours. A new room is written here before it is used.
 */
const FLOORS = {
  "node-agent": [
    ["main", "index"],
    ["compose"],
    ["settings"],
    ["report"],
    ["health"],
    ["gpu", "host"],
    ["version"],
  ],
  "control-plane": [
    ["main", "index"],
    ["compose"],
    ["settings"],
    ["api"],
    ["autoscaler"],
    ["placement"],
    ["allocation"],
    ["org"],
    ["policies", "metrics"],
    ["fleet"],
  ],
  "cluster-agent": [
    ["main", "index"],
    ["compose"],
    ["settings"],
    ["api", "link", "telling"],
    ["scanner"],
    ["actions", "vdags", "management", "events", "stability", "sources"],
    ["allocator"],
    ["cluster"],
    ["prechecks", "telemetry"],
    ["ledger", "nodes", "blocks", "runtime", "policies"],
    ["periodic"],
  ],
  simulator: [
    ["main", "index"],
    ["compose"],
    ["settings", "quiet-logger"],
    ["api"],
    ["faults"],
    ["fleet"],
    ["sources"],
  ],
};

const TEST = "(\\.test\\.ts$|/src/testing/|^test/)";
const anyOf = (names) => `(${names.join("|")})`;
const others = (workspace) => Object.keys(PACKAGES).filter((name) => name !== workspace);

/** One rule; every rule is an error. */
const rule = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

const packageRules = Object.entries(PACKAGES).map(([workspace, allowed]) => {
  const forbidden = others(workspace).filter((name) => !allowed.includes(name));
  return rule(
    `${workspace}-packages`,
    `${workspace} imports ${allowed.join(", ") || "nothing"} of ours`,
    { path: `^${workspace}/` },
    { path: `^${anyOf(forbidden)}/`, pathNot: "^service-kit/src/testing/" },
  );
});

const roomPath = (workspace, rooms) => `^${workspace}/src/${anyOf(rooms)}(/|\\.ts$)`;

const floorRules = Object.entries(FLOORS).flatMap(([workspace, floors]) => [
  rule(
    `${workspace}-rooms`,
    "every folder and file below src is a room on a floor of .dependency-cruiser.cjs",
    { path: `^${workspace}/src/`, pathNot: [roomPath(workspace, floors.flat()), TEST] },
    {},
  ),
  ...floors.flatMap((rooms, floor) =>
    rooms.flatMap((room) => {
      const upstairs = floors.slice(0, floor + 1).flat();
      const forbidden = upstairs.filter((name) => name !== room);
      if (forbidden.length === 0) return [];
      return rule(
        `${workspace}-floor-of-${room}`,
        `${room} uses rooms on lower floors only`,
        { path: roomPath(workspace, [room]), pathNot: TEST },
        { path: roomPath(workspace, forbidden) },
      );
    }),
  ),
]);

module.exports = {
  forbidden: [
    rule("no-cycles", "a cycle hides the direction of data", {}, { circular: true }),
    ...packageRules,
    ...floorRules,
    rule(
      "packages-by-name",
      "import a workspace by its package name, never by a path into it",
      { path: "^([^/]+)/", pathNot: "^test/" },
      {
        path: `^${anyOf(Object.keys(PACKAGES))}/`,
        pathNot: "^$1/",
        dependencyTypes: ["local"],
        dependencyTypesNot: ["npm", "npm-dev"],
      },
    ),
    rule("no-test-code", "product code does not use test code", { pathNot: TEST }, { path: TEST }),
    rule("no-unresolvable", "what is imported must exist", {}, { couldNotResolve: true }),
    rule(
      "declared-dependencies",
      "a package is declared in the package.json of the workspace that imports it",
      { pathNot: TEST },
      { dependencyTypes: ["npm-no-pkg", "npm-unknown", "npm-dev"] },
    ),
    rule(
      "no-process",
      "only main.ts of a program, the cli, and the sandbox, which starts processes of its own Node, see the process; others get what they need as arguments",
      { pathNot: ["/main\\.ts$", "^cli/", "^policy-sandbox/src/(host|worker)/", TEST] },
      { path: "^(node:)?process$" },
    ),
  ],
  options: {
    doNotFollow: { path: "(^|/)node_modules/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".cjs", ".json", ".d.ts"],
    },
  },
};
