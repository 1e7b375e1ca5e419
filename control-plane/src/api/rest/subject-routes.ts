import { bodyObject, parse } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { subjectDocument } from "../../org/subjects/subject.ts";
import type { SubjectBook } from "../../org/subjects/subject-book.ts";
import { FleetLimitParameter, sendListed } from "./listed.ts";

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

/** Metadata of an org's subjects: `GET /subjects` in the shape of the seed's Subjects DB, and what writes them. */
export function subjectRoutes(server: FastifyInstance, subjects: SubjectBook): void {
  const tags = ["subjects"];
  server.get(
    "/subjects",
    { schema: { tags, querystring: ListParameters, summary: "Metadata of subjects" } },
    async (request, reply) => {
      const { subject_id: ids, after = "", limit } = parse(ListParameters, request.query);
      const asked = ids === undefined ? undefined : new Set([ids].flat());
      const found =
        asked === undefined ? subjects.all() : [...asked].flatMap((id) => subjects.find(id) ?? []);
      const behind = found.filter(({ subjectId }) => subjectId > after);
      return sendListed(reply, behind.map(subjectDocument), limit);
    },
  );
  server.get<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Metadata of one subject" } },
    async ({ params }) => ({ success: true, data: subjectDocument(subjects.get(params.id)) }),
  );
  server.post(
    "/subjects",
    { schema: { tags, summary: "Tell of a subject", body: SubjectBody } },
    async (request, reply) => {
      const data = subjectDocument(await subjects.create(bodyObject(request)));
      return reply.code(201).send({ success: true, data });
    },
  );
  server.put<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Change fields of a subject", body: SubjectBody } },
    async (request) => {
      const subject = await subjects.change(request.params.id, bodyObject(request));
      return { success: true, data: subjectDocument(subject) };
    },
  );
  server.delete<{ Params: IdParams }>(
    "/subjects/:id",
    { schema: { tags, summary: "Forget a subject" } },
    async ({ params }) => {
      await subjects.remove(params.id);
      return { success: true, data: { message: "Subject deleted" } };
    },
  );
}
