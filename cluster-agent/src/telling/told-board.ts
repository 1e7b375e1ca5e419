/** Where values are put that the control-plane is told: per key the newest one. */
export interface ToldBoard {
  /** Takes a key's value, JSON text; nothing happens when it is the same as before. */
  set(key: string, json: string): void;
  /** The key is gone. */
  delete(key: string): void;
}
