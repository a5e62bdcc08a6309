import type { ComponentChildren } from "preact";
import type { Read } from "../data/lists";
import { t } from "../text/text";
import { ErrorText } from "./button";

/** What was read, once it is there; before that a word, and why it is not there when it was refused. */
export function Reading<T>({ read, children }: { read: Read<T>; children: (value: T) => ComponentChildren }) {
  return (
    <>
      {read.error && (
        <p role="alert">
          <ErrorText error={read.error} />{" "}
          <button type="button" onClick={read.read}>
            {t("try_again")}
          </button>
        </p>
      )}
      {read.value === undefined ? !read.error && <p>{t("loading")}</p> : children(read.value)}
    </>
  );
}
