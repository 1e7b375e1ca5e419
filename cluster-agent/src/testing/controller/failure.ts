import { expect } from "vitest";
import type { Answer } from "../block-agent.ts";

/** Sends one action in the shape that a suite is about. */
export type Send = (action: string, fields: object) => Promise<Answer>;

/** What an action answers when it fails: `text` stands where clients of the existing deployment read it, too. */
export function failure(status: number, reason: string, text?: RegExp): object {
  const told = text === undefined ? {} : { data: expect.stringMatching(text) };
  return { status, body: { success: false, reason, ...told } };
}

/** What a route that is no action answers when it fails. */
export function refusal(status: number, reason: string, text: string | RegExp): object {
  const message = expect.stringMatching(text);
  return { status, body: { success: false, reason, message, error: message } };
}
