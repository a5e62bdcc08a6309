// The dashboard: who has signed in sees the page of the address, everybody else how to sign in.
import { type ComponentType, render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { lookForSession, session } from "./data/api";
import { connection, follow } from "./data/feed";
import { type PageProps, pageOf } from "./pages";
import { Header } from "./shell/header";
import { Heading } from "./components/heading";
import { NotFound } from "./shell/not_found";
import { followLinks, path } from "./shell/router";
import { SignIn, signInByLink } from "./shell/sign_in";
import { speak, t, usualLanguage } from "./text/text";
import { ConnectionBar } from "./shell/connection_bar";

function App() {
  const isLost = connection.value.state === "lost";
  return (
    <>
      <a class="skip" href="#main">
        {t("skip")}
      </a>
      <Header />
      <ConnectionBar />
      <main id="main" tabIndex={-1} class={isLost ? "stale" : undefined}>
        {session.value ? <Shown /> : <SignIn />}
      </main>
    </>
  );
}

/** The page of the address. Its file is loaded when somebody first goes there. */
function Shown() {
  const found = pageOf(path.value);
  const [loaded, setLoaded] = useState<{ path: string; Page: ComponentType<PageProps> | null }>();
  const page = found?.page;
  useEffect(() => {
    if (!page) return undefined;
    let isHere = true;
    page.load().then(
      (file) => isHere && setLoaded({ path: page.path, Page: file.default }),
      () => isHere && setLoaded({ path: page.path, Page: null }),
    );
    return () => void (isHere = false);
  }, [page]);
  if (!found) return <NotFound />;
  if (loaded?.path !== found.page.path) return <p>{t("loading")}</p>;
  if (!loaded.Page) return <Newer />;
  return <loaded.Page key={path.value} id={found.id} />;
}

/** The file of a page is not there: the coordinator was replaced by another version while the tab was open. */
function Newer() {
  return (
    <>
      <Heading text={t("newer_title")} />
      <p>{t("newer_text")}</p>
      <button type="button" onClick={() => location.reload()}>
        {t("newer_reload")}
      </button>
    </>
  );
}

async function start(): Promise<void> {
  await speak(usualLanguage());
  followLinks();
  const code = location.pathname === "/sign-in" ? location.hash.slice(1) : "";
  if (code) await signInByLink(code);
  else await lookForSession().catch(() => (session.value = null));
  follow();
  const place = document.getElementById("app");
  if (place) render(<App />, place);
}

if (!document.documentElement.hasAttribute("data-too-old")) void start();
