// Requests to the REST API. A refusal is an `ApiError` with the problem as the coordinator told it.
import { signal } from "@preact/signals";
import type { Problem, Session } from "./api_types";

/** A refusal of the coordinator, or that it did not answer (`problem` null). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
    /** After so many seconds it is worth to ask again; 0: that was not said. */
    readonly retryAfterS = 0,
  ) {
    super(problem?.detail ?? "no answer");
  }
}

/** Who has signed in: undefined while it is not known, null for nobody. */
export const session = signal<Session | null | undefined>(undefined);
/** Why the page asks to sign in again: it was signed in before. */
export const sessionEnded = signal("");

const ANSWER_MS = 30_000;
type Json = Record<string, unknown>;

/** Return a new key for a request that begins something: sent again with it, it begins nothing twice. */
export function idempotencyKey(): Record<string, string> {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is there over TLS only
  return { "Idempotency-Key": `"${[...bytes].map((one) => one.toString(16).padStart(2, "0")).join("")}"` };
}

/** Send one request and return the JSON of its answer; raises ApiError. A 401 ends the session of the page. */
export async function ask<T>(method: string, path: string, body?: Json, headers: Record<string, string> = {}, until = AbortSignal.timeout(ANSWER_MS)): Promise<T> {
  const answer = await send(method, path, body, headers, until);
  if (!answer.ok) {
    const error = new ApiError(answer.status, await problemOf(answer), Number(answer.headers.get("Retry-After")) || 0);
    if (answer.status === 401 && session.value) {
      sessionEnded.value = error.message;
      session.value = null;
    }
    throw error;
  }
  if (answer.status === 204) return undefined as T;
  try {
    return (await answer.json()) as T;
  } catch {
    throw new ApiError(0, null); // it broke off, or took too long
  }
}

async function send(method: string, path: string, body: Json | undefined, headers: Record<string, string>, until: AbortSignal) {
  const all: Record<string, string> = { ...headers };
  if (method !== "GET") all["X-Eyeflow-Request"] = "dashboard"; // a page of another site cannot send it
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      headers: all,
      credentials: "same-origin",
      signal: until,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, null);
  }
}

async function problemOf(answer: Response): Promise<Problem | null> {
  try {
    return (await answer.json()) as Problem;
  } catch {
    return null;
  }
}

/** Read a path. `until` ends the reading; without it, that takes half a minute at most. */
export const get = <T>(path: string, query: Query = {}, until?: AbortSignal): Promise<T> => ask<T>("GET", path + queryText(query), undefined, {}, until);

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** Return a query with its question mark, empty without a value; a list is several parameters of one name. */
export function queryText(query: Query): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== "") found.append(name, String(one));
    }
  }
  const text = found.toString();
  return text && `?${text}`;
}

/** Sign in with an API token or with the code of a link. Raises ApiError; `cookies` when the browser keeps no cookie. */
export async function signIn(credential: { token: string } | { code: string }): Promise<void> {
  await ask<Session>("POST", "/api/session", credential);
  if (!(await lookForSession())) throw new CookiesRefused();
  sessionEnded.value = "";
}

export class CookiesRefused extends Error {}

/** Ask who has signed in, and say whether somebody has. Raises ApiError when the coordinator does not answer. */
export async function lookForSession(): Promise<boolean> {
  try {
    const found = await get<Session>("/api/session");
    // The same session is no news: who follows it would begin anew.
    if (JSON.stringify(found) !== JSON.stringify(session.peek())) session.value = found;
    return true;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    session.value = null;
    return false;
  }
}

export async function signOut(everywhere: boolean): Promise<void> {
  await ask<void>("DELETE", everywhere ? "/api/sessions" : "/api/session");
  session.value = null;
}

const RANK = { read: 0, deploy: 1, admin: 2 };

/** Say whether who has signed in may do what needs a role. Buttons that may not be pressed are not shown. */
export const may = (role: keyof typeof RANK): boolean => !!session.value && RANK[session.value.role] >= RANK[role];
