import type http2 from "node:http2";

/**
 * Pings a session at an interval, and destroys it when the last two are unanswered as the third is due. Gives what
 * stops it.
 */
export function keepPinging(session: http2.ServerHttp2Session, intervalMs: number): () => void {
  let missed = 0;
  const timer = setInterval(() => {
    if (session.destroyed) return;
    if (missed >= 2) {
      session.destroy();
      return;
    }
    missed += 1;
    // A ping that throws from a timer would end the process.
    try {
      session.ping((error) => {
        if (error === null) missed = 0;
      });
    } catch {
      session.destroy();
    }
  }, intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}
