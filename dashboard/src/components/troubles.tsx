import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
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
        <TroubleRow {...one} key={one.key} />
      ))}
    </ol>
  );
}

type RowProps = Omit<Trouble, "key"> & { children?: ComponentChildren };

/** One of them, by the name of its title; `children` come below. */
export function TroubleRow({ title, to, sinceUs, evidence, nextStep, children }: RowProps) {
  const id = useId();
  return (
    <li aria-labelledby={id}>
      <p class="what">
        <span id={id}>{to === path.value ? title : <PageLink to={to}>{title}</PageLink>}</span>
        {sinceUs > 0 && (
          <span>
            {" "}
            {t("since")} <Time us={sinceUs} /> (<Time us={sinceUs} asAgo />)
          </span>
        )}
      </p>
      {evidence && (
        <p>
          <Words text={evidence} />
        </p>
      )}
      <p class="next">
        {t("next_step")} <Words text={nextStep} lang="" />
      </p>
      {children}
    </li>
  );
}
