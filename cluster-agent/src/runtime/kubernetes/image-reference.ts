const ALPHANUMERIC = "[a-z0-9]+";
const COMPONENT = `${ALPHANUMERIC}(?:(?:[._]|__|-+)${ALPHANUMERIC})*`;
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?`;
const TAG = "[\\w][\\w.-]{0,127}";
const DIGEST = "[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,128}";
/** The grammar of github.com/distribution/reference. */
const REFERENCE = new RegExp(
  `^(?:${HOST}/)?${COMPONENT}(?:/${COMPONENT})*(?::${TAG})?(?:@${DIGEST})?$`,
);
const MAX_CHARACTERS = 512;

/** Whether a text names a container image: "registry.example:5000/team/model:1.2", also by digest. */
export function isImageReference(text: string): boolean {
  return text.length <= MAX_CHARACTERS && REFERENCE.test(text);
}
