import { BerthError } from "../errors.ts";

/**
 * Whether a token that was not made for a subject may replace its key: `free` = it may; `held` = its agent was heard
 * so lately that it may come back by itself; `contested` = two agents had the key, and only an operator tells
 * who gets one.
 */
export type KeyHold =
  | { readonly kind: "free" }
  | { readonly kind: "held"; readonly forMs: number }
  | { readonly kind: "contested" };

/**
 * What is told to whoever asks for a key in place of one that stays; undefined when it may have one. `subject` is
 * "cluster" or "node", `now` in ISO 8601. UNAVAILABLE says until when; PERMISSION_DENIED when waiting does not help.
 */
export function keyHoldRefusal(
  hold: KeyHold,
  { subject, id, now }: { readonly subject: string; readonly id: string; readonly now: string },
): BerthError | undefined {
  if (hold.kind === "free") return undefined;
  const name = `${subject} ${JSON.stringify(id)}`;
  if (hold.kind === "contested") {
    const message = `subject_id: two agents have run as ${name}; a new key for it needs a token that was made for it (\`berth token create --${subject} ${id}\`)`;
    return new BerthError("PERMISSION_DENIED", message);
  }
  const until = new Date(Date.parse(now) + hold.forMs).toISOString();
  const message = `subject_id: the agent of ${name} may still be there until ${until} (${Math.ceil(hold.forMs / 1_000)} s); try again then, or use a token that was made for it (\`berth token create --${subject} ${id}\`), which takes its place at once`;
  return new BerthError("UNAVAILABLE", message);
}
