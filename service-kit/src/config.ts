/** One setting of a program, read from one environment variable. */
export interface Setting<T> {
  /** Environment variable: "BERTH_HTTP_PORT". */
  readonly env: string;
  /** One line for people: what it does, unit, range. */
  readonly doc: string;
  /** Value when the variable is absent or empty. */
  readonly fallback: T;
  /** The variable must be set. */
  readonly required?: boolean;
  /** Reads the variable's text; throws an Error that says what was expected. */
  readonly read: (text: string) => T;
}

/** Settings by name. */
export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** The values of settings. */
export type Config<S extends Settings> = { readonly [K in keyof S]: ReturnType<S[K]["read"]> };

type Described<T> = Pick<Setting<T>, "env" | "doc" | "fallback">;

/** Free text. */
export function textSetting(described: Described<string>): Setting<string> {
  return { ...described, read: (text) => text };
}

/** One of a few words. */
export function choiceSetting<const C extends readonly string[]>(
  described: Described<C[number]> & { choices: C },
): Setting<C[number]> {
  return {
    ...described,
    read: (text) => {
      if (described.choices.includes(text)) return text;
      throw new Error(`expected one of ${described.choices.join(", ")}`);
    },
  };
}

/** A whole number within bounds. */
export function integerSetting(
  described: Described<number> & { min: number; max: number },
): Setting<number> {
  return {
    ...described,
    read: (text) => {
      const value = Number(text);
      // Number("  ") is 0 and Number("0x10") is 16: neither is what somebody meant by a setting.
      if (/^-?\d{1,16}$/.test(text.trim()) && value >= described.min && value <= described.max)
        return value;
      throw new Error(`expected a whole number from ${described.min} to ${described.max}`);
    },
  };
}

/** A TCP port; 0 lets the system choose. */
export function portSetting(described: Described<number>): Setting<number> {
  return integerSetting({ ...described, min: 0, max: 65_535 });
}

/** Text that must be set: a token. Its value never shows in a message. */
export function requiredTextSetting(
  described: Omit<Described<string>, "fallback">,
): Setting<string> {
  return { ...textSetting({ ...described, fallback: "" }), required: true };
}

/** Address to listen on, a loopback one: others need TLS and an admin token. */
export function loopbackHostSetting(
  described: Described<string> = {
    env: "BERTH_HOST",
    doc: "address to listen on; a loopback one",
    fallback: "127.0.0.1",
  },
): Setting<string> {
  return {
    ...described,
    read: (text) => {
      if (/^(localhost|127(\.\d{1,3}){3}|::1)$/.test(text)) return text;
      throw new Error("expected a loopback address; others are refused until TLS is set up");
    },
  };
}

/** Comma-separated words. */
export function listSetting(described: Described<readonly string[]>): Setting<readonly string[]> {
  return {
    ...described,
    read: (text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
  };
}

/** Result of {@link loadConfig}. */
export type LoadedConfig<S extends Settings> =
  | { readonly kind: "loaded"; readonly config: Config<S> }
  | { readonly kind: "invalid"; readonly problems: readonly string[] };

/** Reads settings from an environment; reports every problem at once, each naming its variable. */
export function loadConfig<S extends Settings>(
  settings: S,
  env: Readonly<Record<string, string | undefined>>,
): LoadedConfig<S> {
  const config: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    const text = env[setting.env];
    if (setting.required === true && (text === undefined || text === "")) {
      problems.push(`${setting.env} is not set: ${setting.doc}`);
      continue;
    }
    try {
      config[name] = text === undefined || text === "" ? setting.fallback : setting.read(text);
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      problems.push(`${setting.env}=${JSON.stringify(text)}: ${why}`);
    }
  }
  if (problems.length > 0) return { kind: "invalid", problems };
  return { kind: "loaded", config: Object.freeze(config) as Config<S> };
}
