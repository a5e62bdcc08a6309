import { ago, local, utc } from "../text/times";
import { t } from "../text/text";

/** A moment by the API's clock (microseconds; 0: never), in the reader's zone. UTC shows on focus and under the mouse. */
export function Time({ us, asAgo = false }: { us: number; asAgo?: boolean }) {
  if (!us) return <span>{t("never")}</span>;
  const ms = us / 1000;
  const exact = asAgo ? `${local(ms)} · ${utc(ms)}` : utc(ms);
  return (
    <time dateTime={new Date(ms).toISOString()} tabIndex={0} data-exact={exact} title={exact}>
      {asAgo ? ago(ms) : local(ms)}
    </time>
  );
}
