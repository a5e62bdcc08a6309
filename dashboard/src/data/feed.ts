// The one WebSocket of a tab: what changes in the cluster, as it happens, with a cursor to go on from after a break.
import { batch, effect, signal } from "@preact/signals";
import { ApiError, get, lookForSession, queryText, session } from "./api";
import type { Change, NodeRow, Rows, Status } from "./api_types";

export type Connection = { state: "starting" } | { state: "live" } | { state: "lost"; sinceMs: number };
/** What came in one message. `again`: changes were missed, so all that is shown must be read again. */
export type News = { changes: Change[]; rows: Partial<Rows>; nodes: Record<string, NodeRow | null>; status: Status | null; again: boolean };

/** Whether what is shown is of now, or since when it is not. */
export const connection = signal<Connection>({ state: "starting" });
/** The sums of the cluster, as they came last. */
export const status = signal<Status | null>(null);

const SILENT_MS = 35_000; // the coordinator says something each 15 s
const BACK_FIRST_MS = 250;
const BACK_LAST_MS = 15_000;
const HIDDEN_MS = 1_000;
const KINDS = ["node", "link", "manifest", "deployment", "progress", "program", "rule", "key", "policy", "alarm"];

type Wanted = { nodes: readonly string[]; records: boolean };
type Message = { type: string; cursor: number; changes?: Change[]; rows?: Rows; status?: Status; nodes?: News["nodes"] };

let wanted: Wanted = { nodes: [], records: false };
let cursor: number | null = null;
let socket: WebSocket | null = null;
let backMs = BACK_FIRST_MS;
let timer = 0;
let silence = 0;
let isDue = false;
let heardMs = Date.now();
let begun = promise();
const waiting: Message[] = [];
const listeners = new Set<(news: News) => void>();

/** Call `listener` with what comes, once for each frame that the browser draws; returns what ends that. */
export function onNews(listener: (news: News) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Say what the page shows: of nodes only these, or all when none is named; `records`: also that records were copied. */
export function watch(shown: Partial<Wanted>): void {
  const next = { nodes: [...(shown.nodes ?? [])].sort(), records: shown.records ?? false };
  if (JSON.stringify(next) === JSON.stringify(wanted)) return;
  wanted = next;
  if (session.peek()) open();
}

/** Begin to follow whenever somebody has signed in. */
export function follow(): void {
  effect(() => {
    if (session.value) open();
    else close();
  });
  addEventListener("online", () => connection.peek().state === "lost" && open());
  addEventListener("offline", lose);
}

type Begun = { done: Promise<void>; end: () => void };
function promise(): Begun {
  let end = () => {};
  return { done: new Promise<void>((resolve) => (end = resolve)), end: () => end() };
}

/** Wait until the feed has begun, or cannot begin now: what is read after that lacks no change. */
export const feedBegun = (): Promise<void> => begun.done;

function close(): void {
  clearTimeout(timer);
  clearTimeout(silence);
  const old = socket;
  socket = null;
  old?.close();
  cursor = null;
  waiting.length = 0;
  begun = promise();
  batch(() => {
    connection.value = { state: "starting" };
    status.value = null;
  });
}

function open(): void {
  clearTimeout(timer);
  const old = socket;
  const query = {
    rows: true,
    kind: wanted.records ? [...KINDS, "record"] : KINDS,
    node: wanted.nodes,
    ...(cursor === null ? {} : { cursor }),
  };
  const address = `${location.origin.replace(/^http/, "ws")}/api/changes${queryText(query)}`;
  const made = new WebSocket(address);
  socket = made;
  old?.close();
  made.onmessage = (event) => made === socket && take(JSON.parse(String(event.data)) as Message);
  made.onclose = () => made === socket && void again();
  listenForSilence();
}

function listenForSilence(): void {
  clearTimeout(silence);
  silence = window.setTimeout(() => {
    socket?.close();
    lose();
  }, SILENT_MS);
}

function take(message: Message): void {
  listenForSilence();
  heardMs = Date.now();
  cursor = message.cursor;
  backMs = BACK_FIRST_MS;
  begun.end();
  if (message.type === "begin" && !status.peek()) void readStatus();
  waiting.push(message);
  if (isDue) return;
  isDue = true;
  // A tab that nobody looks at has no frames.
  if (document.hidden) setTimeout(draw, HIDDEN_MS);
  else requestAnimationFrame(draw);
}

function draw(): void {
  isDue = false;
  const news: News = { changes: [], rows: {}, nodes: {}, status: null, again: false };
  for (const one of waiting.splice(0)) {
    news.again ||= one.type === "reset";
    news.changes.push(...(one.changes ?? []));
    for (const [kind, rows] of Object.entries(one.rows ?? {})) mergeRows(news.rows, kind as keyof Rows, rows);
    Object.assign(news.nodes, one.nodes);
    news.status = one.status ?? news.status;
  }
  batch(() => {
    if (news.status) status.value = news.status;
    if (connection.peek().state !== "live") connection.value = { state: "live" };
    for (const listener of listeners) listener(news);
  });
}

function mergeRows(into: Partial<Rows>, kind: keyof Rows, rows: object): void {
  if (kind !== "progress") {
    into[kind] = { ...into[kind], ...rows } as never;
    return;
  }
  const merged: Rows["progress"] = { ...into.progress };
  for (const [id, nodes] of Object.entries(rows as Rows["progress"])) merged[id] = { ...merged[id], ...nodes };
  into.progress = merged;
}

/** The feed brings the sums each 5 s: at first nobody should wait so long. */
async function readStatus(): Promise<void> {
  const found = await get<Status>("/api/status").catch(() => null);
  if (found && !status.peek()) status.value = found;
}

function lose(): void {
  if (connection.peek().state === "lost") return;
  connection.value = { state: "lost", sinceMs: heardMs };
  begun.end();
}

/** The connection ended. A browser does not tell why it could not be opened: a request tells whether one is signed in. */
async function again(): Promise<void> {
  socket = null;
  lose();
  try {
    if (!(await lookForSession())) return;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  if (!session.peek() || socket) return;
  clearTimeout(timer);
  timer = window.setTimeout(open, backMs * (0.5 + Math.random() / 2));
  backMs = Math.min(backMs * 2, BACK_LAST_MS);
}

