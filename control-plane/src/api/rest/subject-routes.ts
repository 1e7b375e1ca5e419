import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import type { Org } from "../../org/org.ts";
import { subjectDocument } from "../../org/subjects/subject.ts";
import type { KeptSubject } from "../../org/subjects/subject-book.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";
import { ifMatchOf, sendRevision } from "./revisions.ts";

const ListParameters = Type.Object(
  {
    subject_id: Type.Optional(
      Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: 10_000 })], {
        description: "only these; may be given more than once",
      }),
    ),
    after: Type.Optional(Type.String({ description: "only subjects behind this id" })),
    limit: FleetLimitParameter,
  },
  { additionalProperties: false },
);

const SubjectBody = Type.Object({
  subject_id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  type: Type.Optional(Type.String()),
});

interface IdParams {
  readonly id: string;
}

/** Metadata of an org's subjects: `GET /subjects` in the shape of the seed's Subjects DB, and what writes them. ETag as of quotas. */
export function subjectRoutes(
  server: FastifyInstance,
  { id: orgId, subjects }: Pick<Org, "id" | "subjects">,
): void {
  const tags = ["subjects"];
  const answer = (reply: FastifyReply, { subject, revision }: KeptSubject) => {
    sendRevision(reply, revision);
    return { success: true, data: subjectDocument(subject, orgId) };
  };
  server.get(
    "/subjects",
    { schema: { tags, querystring: ListParameters, summary: "Metadata of subjects" } },
    async (request, reply) => {
      const { subject_id: ids, after = "", limit } = parse(ListParameters, request.query);
      const asked = ids === undefined ? undefined : [...new Set([ids].flat())].sort();
      const found = asked?.flatMap((id) => subjects.find(id) ?? []) ?? subjects.all();
      const behind = found.filter(({ subjectId }) => subjectId > after);
      const documents = behind.map((subject) => subjectDocument(subject, orgId));
      return sendListed(reply, documents, limit);
    },
  );
  server.get<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Metadata of one subject" } },
    async ({ params }, reply) => answer(reply, subjects.get(params.id)),
  );
  server.post(
    "/subjects",
    { schema: { tags, summary: "Tell of a subject", body: SubjectBody } },
    async (request, reply) => {
      const kept = await subjects.create(bodyObject(request));
      return reply.code(201).send(answer(reply, kept));
    },
  );
  server.put<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Change fields of a subject", body: SubjectBody } },
    async (request, reply) => {
      const { id } = request.params;
      return answer(reply, await subjects.change(id, bodyObject(request), ifMatchOf(request)));
    },
  );
  server.delete<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Forget a subject" } },
    async (request) => {
      await subjects.remove(request.params.id, ifMatchOf(request));
      return { success: true, data: { message: "Subject deleted" } };
    },
  );
}
