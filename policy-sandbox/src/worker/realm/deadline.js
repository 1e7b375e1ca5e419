// Runs inside the sealed realm: the soft deadline. Python asks for signals every few bytecodes; the answer
// is an interrupt once, then nothing while the policy unwinds, and when that takes too long the process
// ends itself, so that it also ends when nobody is left to kill it.
(host) => {
  const CPU_CHECK_MS = 5;
  const NAP_MS = 1_000;
  const SIGINT = 2;
  const { min } = Math;
  const timer = {
    armed: false,
    fired: "",
    wallAt: 0,
    cpuAt: 0,
    nextCpuAt: 0,
    leaveAt: 0,
    graceMs: 0,
  };

  const expired = (at) => {
    if (at >= timer.wallAt) return "wall";
    if (at < timer.nextCpuAt) return "";
    timer.nextCpuAt = at + CPU_CHECK_MS;
    return host.threadCpuMs() >= timer.cpuAt ? "cpu" : "";
  };
  const overdue = (limit, at) => {
    if (timer.fired === "") {
      timer.fired = limit;
      timer.leaveAt = at + timer.graceMs;
    } else if (at >= timer.leaveAt) host.leave(timer.fired);
  };

  // CPython's signal check reads element 0 and writes 0 back.
  const interrupts = {
    get 0() {
      if (!timer.armed) return 0;
      const at = host.now();
      const first = timer.fired === "";
      const limit = first ? expired(at) : timer.fired;
      if (limit === "") return 0;
      overdue(limit, at);
      return first ? SIGINT : 0;
    },
    set 0(_value) {},
  };

  // Python's sleep: true when the deadline ended it.
  const pause = (lengthMs) => {
    const until = host.now() + lengthMs;
    for (let at = host.now(); at < until; at = host.now()) {
      if (at >= timer.wallAt || timer.fired !== "") {
        overdue("wall", at);
        return true;
      }
      host.nap(min(until - at, timer.wallAt - at, NAP_MS));
    }
    return false;
  };

  const arm = (wallMs, cpuMs, graceMs) => {
    const at = host.now();
    timer.fired = "";
    timer.wallAt = at + wallMs;
    timer.cpuAt = host.threadCpuMs() + cpuMs;
    timer.nextCpuAt = at + CPU_CHECK_MS;
    timer.graceMs = graceMs;
    timer.armed = true;
  };
  const disarm = () => {
    timer.armed = false;
  };
  return { interrupts, pause, arm, disarm, fired: () => timer.fired };
};
