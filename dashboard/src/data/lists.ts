// What pages show of the cluster, kept true by the feed: a page of a list, one thing, or what is read each minute.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Query, get, queryText } from "./api";
import type { Change, Rows } from "./api_types";
import { type News, feedBegun, onNews } from "./feed";

/** What was read: `value` undefined while nothing is there yet; `error` of the last reading, with the older value. */
export type Read<T> = { value: T | undefined; error: ApiError | null; read: () => void };

const REST_MS = 1_000; // the shortest time between two readings of the same thing that changes go on asking for

/** Read a path, and again when `isNews` says so of what came, or after `everyMs`. */
export function useRead<T>(path: string, query: Query, isNews: (news: News) => boolean, everyMs = 0): Read<T> {
  const address = path + queryText(query);
  const [found, setFound] = useState<{ address: string; value: T | undefined; error: ApiError | null }>();
  const asks = useRef(isNews);
  asks.current = isNews;
  const reader = useRef<Reader>(undefined);
  useEffect(() => {
    const made = new Reader(async (isOver) => {
      try {
        await feedBegun();
        const value = await get<T>(address);
        if (!isOver()) setFound({ address, value, error: null });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (!isOver()) setFound((old) => ({ address, value: old?.address === address ? old.value : undefined, error }));
      }
    });
    reader.current = made;
    made.ask();
    const end = onNews((news) => (news.again || asks.current(news)) && made.ask());
    const every = everyMs ? window.setInterval(() => made.ask(), everyMs) : 0;
    return () => {
      made.end();
      end();
      clearInterval(every);
    };
  }, [address, everyMs]);
  const here = found?.address === address ? found : undefined;
  return { value: here?.value, error: here?.error ?? null, read: () => reader.current?.ask() };
}

/** Reads one at a time, with a rest between two: a storm of changes costs as much as one. */
export class Reader {
  private isBusy = false;
  private isAsked = false;
  private isOver = false;
  constructor(private readonly readOnce: (isOver: () => boolean) => Promise<void>) {}

  ask(): void {
    this.isAsked = true;
    if (!this.isBusy && !this.isOver) void this.run();
  }

  end(): void {
    this.isOver = true;
  }

  private async run(): Promise<void> {
    this.isBusy = true;
    while (this.isAsked && !this.isOver) {
      this.isAsked = false;
      await this.readOnce(() => this.isOver);
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
    }
    this.isBusy = false;
  }
}

/** Say whether news name a thing of one of these kinds; without `subject`, any. */
export function names(news: News, kinds: readonly Change["kind"][], subject = ""): boolean {
  return news.changes.some((one) => kinds.includes(one.kind) && (!subject || one.subject === subject));
}

type Kind = "nodes" | "deployments" | "alarms";
type RowOf<K extends Kind> = NonNullable<Rows[K][string]>;
const KINDS = { nodes: ["node", "link", "manifest"], deployments: ["deployment"], alarms: ["alarm"] } as const;
/** What a list is read from, and the name of the rows in its answer. */
const LISTS = {
  nodes: { path: "/api/node-rows", member: "nodes", key: "name" },
  deployments: { path: "/api/deployments", member: "deployments", key: "id" },
  alarms: { path: "/api/alarms", member: "alarms", key: "id" },
} as const;

export type Page<T> = { rows: T[]; total: number | undefined; nextCursor: string };

/**
 * Read one page of a list and keep its rows as the feed tells them. The page is read again when something came that it
 * does not show, and when `isNews` says so: then other rows may belong on it.
 */
export function useRows<K extends Kind>(kind: K, query: Query, isNews?: (news: News) => boolean): Read<Page<RowOf<K>>> {
  const list = LISTS[kind];
  type Answer = Record<string, RowOf<K>[]> & { nextCursor: string; total?: number };
  const shown = useRef(new Set<string>());
  const read = useRead<Answer>(list.path, query, (news) => {
    const others = news.changes.some((one) => isOf(kind, one) && !shown.current.has(one.subject));
    return others || (isNews?.(news) ?? false);
  });
  const [newer, setNewer] = useState<{ of: Answer | undefined; rows: Record<string, RowOf<K> | null> }>();
  useEffect(() => onNews((news) => {
    const came = { ...news.rows[kind], ...(kind === "nodes" ? news.nodes : {}) } as Record<string, RowOf<K> | null>;
    const told = Object.entries(came).filter(([name]) => shown.current.has(name));
    if (!told.length) return;
    setNewer((old) => ({ of: read.value, rows: { ...(old?.of === read.value ? old?.rows : {}), ...Object.fromEntries(told) } }));
  }), [read.value, kind]);
  const nameOf = (row: RowOf<K>) => String((row as Record<string, unknown>)[list.key]);
  const rows = read.value?.[list.member] ?? [];
  shown.current = new Set(rows.map(nameOf));
  const over = newer?.of === read.value ? newer?.rows ?? {} : {};
  const merged = rows.map((row) => (nameOf(row) in over ? over[nameOf(row)] : row));
  const value = read.value && {
    rows: merged.filter((row) => row !== null && row !== undefined),
    total: read.value.total,
    nextCursor: read.value.nextCursor,
  };
  return { ...read, value };
}

function isOf(kind: Kind, change: Change): boolean {
  return (KINDS[kind] as readonly string[]).includes(change.kind);
}
