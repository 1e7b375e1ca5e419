const CONTROL = /\p{Cc}/gu;

/**
 * Text that another machine wrote, fit to be shown: at most `limit` characters, well-formed, control
 * characters as spaces.
 */
export function shownText(text: string, limit: number): string {
  return text.slice(0, limit).toWellFormed().replaceAll(CONTROL, " ");
}
