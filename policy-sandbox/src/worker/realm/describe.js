// Runs inside the sealed realm: puts into words what ended the interpreter, which may be any object of a policy.
() => {
  const text = String;

  // The runner itself never raises: a policy has changed what it stands on, and often the traceback, too.
  const describePython = ({ message, type }) => {
    const lines = text(message).trim().split("\n");
    const repr = lines.findLast((line) => line.startsWith("object repr"));
    const raised = repr?.slice(repr.indexOf(":") + 1).trim() ?? (lines.at(-1) || text(type));
    return `${raised.slice(0, 300)} outside of the policy; it may have changed Python's builtins`;
  };

  return (error) => {
    try {
      if (error?.name === "PythonError") return describePython(error);
      return text(error?.message || error).slice(-500);
    } catch {
      return "the interpreter failed";
    }
  };
};
