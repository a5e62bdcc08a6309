import type { Trouble } from "../data/troubles";
import { path } from "../shell/router";
import { t } from "../text/text";
import { PageLink } from "./page_link";
import { Time } from "./time";
import { Words } from "./words";

/** What is wrong, each with since when, what shows it and what to do. A title leads to the page that shows more. */
export function Troubles({ troubles }: { troubles: readonly Trouble[] }) {
  if (!troubles.length) return null;
  return (
    <ol class="troubles" aria-live="polite" aria-relevant="additions">
      {troubles.map((one) => (
        <li key={one.key}>
          <p class="what">
            {one.to === path.value ? one.title : <PageLink to={one.to}>{one.title}</PageLink>}
            {one.sinceUs > 0 && (
              <span>
                {" "}
                {t("since")} <Time us={one.sinceUs} /> (<Time us={one.sinceUs} asAgo />)
              </span>
            )}
          </p>
          {one.evidence && (
            <p>
              <Words text={one.evidence} />
            </p>
          )}
          <p class="next">
            {t("next_step")} <Words text={one.nextStep} lang="" />
          </p>
        </li>
      ))}
    </ol>
  );
}
