import fc from "fast-check";
import { expect, it } from "vitest";
import { redactUrl, withoutSecrets } from "./redact-url.ts";

it("keeps scheme, host and port of each URL", () => {
  const list = "nats://u:p@a:1, nats://b:2,redis://:p@w@[::1]:3/0?x=secret";
  expect(redactUrl(list)).toBe("nats://***@a:1,nats://b:2,redis://***@[::1]:3/0");
  expect(redactUrl("tokenonly@host")).toBe("***@host");
});

it("never shows a password", () => {
  const secret = fc.stringMatching(/^[A-Z0-9@:/?#%]{6,20}$/);
  fc.assert(
    fc.property(secret, (password) => {
      const url = `nats://user:${password}@host:4222`;
      expect(redactUrl(url)).not.toContain(password);
      expect(withoutSecrets(`refused ${url}`, url)).not.toContain(password);
    }),
  );
});
