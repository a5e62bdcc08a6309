import type { ComponentChildren } from "preact";
import { t } from "../text/text";
import { Words } from "./words";

export type Column<T> = {
  title: string;
  cell: (row: T) => ComponentChildren;
  /** The word by which the list is sorted when this column is chosen; none: it cannot be. */
  sort?: string;
  /** The most or worst comes first. */
  isFalling?: boolean;
  isNumber?: boolean;
};

type Props<T> = {
  /** What the table holds, for who does not see it. */
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
  /** What stands there when there are no rows. */
  empty: string;
  sorted?: string;
  onSort?: (sort: string) => void;
};

/** Rows in columns. On a narrow screen each row is a block, with the title of its column beside each value. */
export function Table<T>({ caption, columns, rows, keyOf, empty, sorted, onSort }: Props<T>) {
  if (!rows.length) {
    return (
      <p>
        <Words text={empty} lang="" />
      </p>
    );
  }
  return (
    <table>
      <caption class="unseen">{caption}</caption>
      <thead>
        <tr>
          {columns.map((one) => (
            <th key={one.title} scope="col" class={one.isNumber ? "number" : undefined} aria-sort={one.sort && one.sort === sorted ? (one.isFalling ? "descending" : "ascending") : undefined}>
              {one.sort && onSort ? (
                <button type="button" class="plain" onClick={() => onSort(one.sort ?? "")}>
                  {one.title}
                  <span aria-hidden="true">{one.sort !== sorted ? " ↕" : one.isFalling ? " ▾" : " ▴"}</span>
                  <span class="unseen"> {t("sort")}</span>
                </button>
              ) : (
                one.title
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map((one, at) =>
              at === 0 ? (
                <th key={one.title} scope="row" data-title={one.title}>
                  {one.cell(row)}
                </th>
              ) : (
                <td key={one.title} data-title={one.title} class={one.isNumber ? "number" : undefined}>
                  {one.cell(row)}
                </td>
              ),
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The way to the next page of a list, and back to the first. */
export function Pager({ next, isFirst, onPage }: { next: string; isFirst: boolean; onPage: (cursor: string) => void }) {
  if (!next && isFirst) return null;
  return (
    <p class="pager">
      {!isFirst && (
        <button type="button" onClick={() => onPage("")}>
          {t("first_page")}
        </button>
      )}{" "}
      {next && (
        <button type="button" onClick={() => onPage(next)}>
          {t("next_page")}
        </button>
      )}
    </p>
  );
}
