import { BerthError, isJsonObject, jsonDepth, typeName } from "@berth/service-kit";

/** What is known of a subject: `name`, `type`, and whatever else its owner writes. JSON. */
export interface Subject {
  readonly subjectId: string;
  /** All fields but `subject_id` and `org_id`. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const MAX_ID_CHARACTERS = 253;
const MAX_CHARACTERS = 64 * 1024;
const MAX_DEPTH = 16;
const TEXTS = ["name", "type"] as const;

/** Reads a subject as clients write it, `{"subject_id", "name", "type", …}`. INVALID_ARGUMENT names the field. */
export function readSubject(body: Readonly<Record<string, unknown>>): Subject {
  const { subject_id: subjectId, ...fields } = withoutGiven(body);
  if (subjectId === undefined) throw invalid("subject_id: required field is missing");
  return checked({ subjectId: readSubjectId("subject_id", subjectId), fields });
}

/** The subject with the fields of a body, at the top; null takes one away. INVALID_ARGUMENT names the field. */
export function changedSubject(before: Subject, body: Readonly<Record<string, unknown>>): Subject {
  const { subject_id: subjectId = before.subjectId, ...changes } = withoutGiven(body);
  if (subjectId !== before.subjectId) {
    throw invalid(`subject_id: a subject keeps its id, ${JSON.stringify(before.subjectId)}`);
  }
  const joined = Object.entries({ ...before.fields, ...changes });
  const fields = Object.fromEntries(joined.filter(([, value]) => value !== null));
  return checked({ subjectId: before.subjectId, fields });
}

/** A subject as clients read it, with its org. */
export function subjectDocument(
  { subjectId, fields }: Subject,
  orgId: string,
): Record<string, unknown> {
  return { subject_id: subjectId, ...fields, org_id: orgId };
}

/** Clients send back what they read, with what is not theirs to say. */
function withoutGiven({ org_id: _org, ...body }: Readonly<Record<string, unknown>>) {
  return body;
}

/** Reads the id of a subject. INVALID_ARGUMENT names the field. */
export function readSubjectId(field: string, value: unknown): string {
  if (typeof value !== "string") throw invalid(`${field}: expected text, got ${typeName(value)}`);
  const isOneLine = !/[\0/\n\r]|^\.{1,2}$/.test(value) && value.isWellFormed();
  if (value !== "" && value.length <= MAX_ID_CHARACTERS && isOneLine) return value;
  throw invalid(`${field}: expected 1-${MAX_ID_CHARACTERS} characters on one line without "/"`);
}

function checked(subject: Subject): Subject {
  const { fields } = subject;
  for (const name of TEXTS) {
    const value = fields[name];
    if (value === undefined || typeof value === "string") continue;
    throw invalid(
      `${name}: expected text, got ${isJsonObject(value) ? "object" : typeName(value)}`,
    );
  }
  if (jsonDepth(fields) > MAX_DEPTH) {
    throw invalid(`the subject: expected at most ${MAX_DEPTH} nested levels`);
  }
  if (JSON.stringify(fields).length <= MAX_CHARACTERS) return subject;
  throw invalid(`the subject: expected at most ${MAX_CHARACTERS} characters`);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
