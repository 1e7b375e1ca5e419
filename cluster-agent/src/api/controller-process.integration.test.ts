import { controllerContract } from "../testing/controller/controller-contract.ts";
import { startController } from "../testing/controller/controller-under-test.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

controllerContract("local processes", (cleanup) =>
  startController(cleanup, { program: { command: ECHO_COMMAND } }),
);
