// Executions that fit what the reader asks for: a page of them, and how many have come since it was read.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Query, get, queryText } from "./api";
import type { Execution, Executions } from "./api_types";
import { feedBegun, onNews } from "./feed";
import { Reader, names } from "./lists";

export type Listed = {
  page: Executions | undefined;
  error: ApiError | null;
  /** How many have come since; `isMany`: they are no longer counted. */
  came: number;
  isMany: boolean;
  /** Read the page again. */
  read: () => void;
};

const PATH = "/api/executions";
const COUNTED = 200; // so many are read to be counted; a busy cluster has thousands in a second
const NEWS_MS = 5_000; // what the feed says of records are hints, which may be lost

type Found = { address: string; page: Executions | undefined; came: number; isMany: boolean; error: ApiError | null };

/**
 * Read the page of a query. What comes behind its first page is counted if it `fits`; where `isAtOnce` says so, the page
 * is read again in place of that.
 */
export function useExecutions(query: Query, fits: (one: Execution) => boolean, isAtOnce: () => boolean): Listed {
  const address = queryText(query);
  const [found, setFound] = useState<Found>();
  const again = useRef<() => void>(undefined);
  const asks = useRef({ fits, isAtOnce });
  asks.current = { fits, isAtOnce };
  useEffect(() => {
    const list = new List(query, (one) => asks.current.fits(one));
    const reader = new Reader(async (isOver) => {
      let error: ApiError | null = null;
      try {
        await feedBegun();
        await list.look(asks.current.isAtOnce());
      } catch (raised) {
        if (!(raised instanceof ApiError)) throw raised;
        error = raised;
      }
      if (!isOver()) setFound({ address, page: list.page, came: list.came.size, isMany: list.isMany, error });
    });
    again.current = () => {
      list.isRead = false;
      reader.ask();
    };
    reader.ask();
    const isFirst = !query["cursor"];
    const end = onNews((news) => isFirst && (news.again || names(news, ["record"])) && reader.ask());
    const every = isFirst ? window.setInterval(() => reader.ask(), NEWS_MS) : 0;
    return () => {
      reader.end();
      end();
      clearInterval(every);
    };
  }, [address]);
  const here = found?.address === address ? found : undefined;
  return { page: here?.page, error: here?.error ?? null, came: here?.came ?? 0, isMany: here?.isMany ?? false, read: () => again.current?.() };
}

/** One page, and the ids of those that came since it was read. */
class List {
  page: Executions | undefined;
  came = new Set<string>();
  isMany = false;
  isRead = false;
  private after = "";

  constructor(
    private readonly query: Query,
    private readonly fits: (one: Execution) => boolean,
  ) {}

  async look(isAtOnce: boolean): Promise<void> {
    if (!this.isRead) {
      await this.readPage();
      return;
    }
    if (this.query["cursor"] || this.isMany) return;
    const news = await get<Executions>(PATH, { ...this.query, cursor: this.after, order: "came", limit: COUNTED });
    this.after = news.nextCursor;
    const shown = new Set(this.page?.executions.map((one) => one.id));
    for (const one of news.executions) if (!shown.has(one.id) && this.fits(one)) this.came.add(one.id);
    if (isAtOnce && this.came.size) await this.readPage();
    else this.isMany = this.came.size >= COUNTED;
  }

  /** The end of what has come is asked for first: what comes between the two requests is shown, or counted. */
  private async readPage(): Promise<void> {
    if (!this.query["cursor"]) this.after = (await get<Executions>(PATH, { ...this.query, order: "came", limit: 1 })).nextCursor;
    this.page = await get<Executions>(PATH, this.query);
    this.came = new Set();
    this.isMany = false;
    this.isRead = true;
  }
}

/** Say whether an execution did something: what it asked for was not so already, or it trapped. */
export const changed = (one: Execution): boolean =>
  one.outcome === "trapped" || one.actions.some((action) => action.disposition === "sent" || action.disposition === "emitted");
