// What stands above each page: which cluster it is, where one may go, and how the reader wants it.
import { useEffect, useRef, useState } from "preact/hooks";
import { session, signOut } from "../data/api";
import { Badge } from "../components/badge";
import { connection, status } from "../data/feed";
import { PAGES } from "../pages";
import { type Key, type Language, count, language, number, speak, store, stored, t } from "../text/text";
import { path } from "./router";

const THEMES = ["auto", "light", "dark"] as const;

export function Header() {
  return (
    <header>
      <p class="brand">
        <a href="/">eyeflow</a> <span class="host">{location.host}</span>
      </p>
      {session.value && <Navigation />}
      <div class="settings">
        {session.value ? (
          <>
            <State />
            <Account />
          </>
        ) : (
          <Choices />
        )}
      </div>
    </header>
  );
}

function Navigation() {
  return (
    <nav aria-label={t("navigation")}>
      <ul>
        {PAGES.filter((page) => page.isMain).map((page) => (
          <li key={page.path}>
            <a href={page.path} aria-current={isHere(page.path) ? "page" : undefined}>
              {t(page.title)}
              {page.path === "/alarms" && <OpenAlarms />}
            </a>
          </li>
        ))}
      </ul>
      <AlarmNews />
    </nav>
  );
}

/** Whether what the page shows is of now; `ConnectionBar` says more when it is not. */
function State() {
  const { state } = connection.value;
  if (state === "starting") return <Badge tone="quiet" text={t("connection_starting")} />;
  return state === "live" ? <Badge tone="good" text={t("connection_short")} /> : <Badge tone="bad" text={t("connection_none")} />;
}

/** How many alarms are open, beside the link to them. */
function OpenAlarms() {
  const open = status.value?.alarms.open ?? 0;
  if (!open) return null;
  return (
    <>
      {" "}
      <span class="open-alarms" aria-hidden="true">
        {number(open)}
      </span>
      <span class="unseen">({count("alarms_open", open)})</span>
    </>
  );
}

/** Tells a screen reader when that number changes; not what it is when the page opens. */
function AlarmNews() {
  const open = status.value?.alarms.open;
  const before = useRef(open);
  const [news, setNews] = useState("");
  useEffect(() => {
    if (before.current !== undefined && open !== undefined && open !== before.current) setNews(open ? count("alarms_open", open) : t("alarms_none"));
    before.current = open;
  }, [open]);
  return (
    <div class="unseen" role="status">
      {news}
    </div>
  );
}

const isHere = (page: string) => (page === "/" ? path.value === "/" : path.value === page || path.value.startsWith(`${page}/`));

function Choices() {
  return (
    <>
      <ThemeChoice />
      <LanguageChoice />
    </>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState(stored("eyeflow-theme") ?? "auto");
  const change = (next: string) => {
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    store("eyeflow-theme", next);
    setTheme(next);
    dispatchEvent(new Event("eyeflow-theme")); // what is drawn on a canvas is drawn again
  };
  return (
    <label>
      <span class="unseen">{t("theme")}</span>
      <select value={theme} onChange={(event) => change(event.currentTarget.value)}>
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {t(`theme_${one}` as Key)}
          </option>
        ))}
      </select>
    </label>
  );
}

function LanguageChoice() {
  return (
    <label>
      <span class="unseen">{t("language")}</span>
      <select value={language.value} onChange={(event) => void speak(event.currentTarget.value as Language)}>
        <option value="en">English</option>
        <option value="fr">Français</option>
      </select>
    </label>
  );
}

function Account() {
  const who = session.value;
  if (!who) return null;
  const labels = Object.entries(who.labels).map(([name, value]) => `${name}=${value}`).join(" ");
  const leave = (everywhere: boolean) => void signOut(everywhere).catch(() => undefined);
  return (
    <details class="account">
      <summary>
        {who.name}
        <span class="unseen"> {t("menu")}</span>
      </summary>
      <div>
        <span>
          {t(`role_${who.role}` as Key)} {labels}
        </span>
        {status.value && (
          <span>
            {t("cluster_id")} <code title={status.value.coordinatorId}>{status.value.coordinatorId.slice(0, 8)}</code>
          </span>
        )}
        <Choices />
        <button type="button" onClick={() => leave(false)}>
          {t("sign_out")}
        </button>
        <button type="button" onClick={() => leave(true)}>
          {t("sign_out_everywhere")}
        </button>
      </div>
    </details>
  );
}
