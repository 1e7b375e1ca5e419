/** Who asks. Every transport makes one before it does anything, and every store call takes its org. */
export interface Principal {
  /** Organization whose records the caller sees and changes. */
  readonly orgId: string;
  /** What the caller may do. */
  readonly role: "admin" | "agent";
  /** Whom an agent's own key speaks for; only with role "agent". */
  readonly agent?: {
    /** Cluster id or node id. */
    readonly id: string;
    /** What that id is bound to: "process:<machine id>:<data-directory id>". */
    readonly identity: string;
  };
}

/** What a transport knows of a caller. */
export interface Credentials {
  /** The `authorization` header. */
  readonly authorization?: string | undefined;
}

/** Decides who a caller is; throws UNAUTHENTICATED when the credential does not hold. */
export type Authenticate = (credentials: Credentials) => Principal;

/** Lets every caller of a loopback port in as administrator of one org. Host and Origin are checked apart. */
export function loopbackAuthenticator(orgId: string): Authenticate {
  return () => ({ orgId, role: "admin" });
}
