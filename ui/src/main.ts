import "@fontsource-variable/inter";
import { mount } from "svelte";
import Root from "./App.svelte";
import "./lib/design/tokens.css";
import "./lib/design/base.css";
import { openBackend } from "./lib/backend";
import { App } from "./lib/state/app.svelte";

const target = document.getElementById("app");
if (!target) throw new Error("The page has no place for the app.");
const app = new App(await openBackend());
mount(Root, { target, props: { app } });
