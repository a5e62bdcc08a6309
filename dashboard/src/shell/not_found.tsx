import { Heading } from "../components/heading";
import { t } from "../text/text";
import { path } from "./router";

/** An address that is no page: an old link, or a mistake in it. */
export function NotFound() {
  return (
    <>
      <Heading text={t("not_found_title")} />
      <p>{t("not_found_text", { path: path.value })}</p>
      <p>
        <a href="/">{t("not_found_back")}</a>
      </p>
    </>
  );
}
