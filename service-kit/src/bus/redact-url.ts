/**
 * A URL list without its secrets, for logs and errors: only scheme, host, port and path of each are
 * kept. What cannot be read as a URL is hidden whole.
 */
export function redactUrl(list: string): string {
  return list
    .split(",")
    .map((one) => redactOne(one.trim()))
    .join(",");
}

function redactOne(text: string): string {
  // The last @ ends the user part, also when a password has one that is not escaped.
  const match = /^([a-z][a-z0-9+.-]*:\/\/)?(?:(.*)@)?([^@?#]*)/is.exec(text);
  if (match === null) return "***";
  const [, scheme = "", user, rest = ""] = match;
  if (!/^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?(\/[^\s]*)?$/i.test(rest)) return `${scheme}***`;
  return `${scheme}${user === undefined ? "" : "***@"}${rest}`;
}

/** A text of others without the secrets of a URL list that they may have repeated. */
export function withoutSecrets(text: string, list: string): string {
  let clean = text;
  for (const secret of secretsOf(list)) clean = clean.replaceAll(secret, "***");
  return clean;
}

function secretsOf(list: string): string[] {
  const users = list.split(",").flatMap((one) => /^[^/]*\/\/(.*)@/.exec(one.trim())?.[1] ?? []);
  const parts = users.flatMap((user) => [user, user.slice(user.indexOf(":") + 1)]);
  const plain = parts.flatMap((part) => [part, decoded(part)]);
  // Longest first, so that the whole goes before its parts.
  return [...new Set(plain)].filter((part) => part !== "").sort((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
