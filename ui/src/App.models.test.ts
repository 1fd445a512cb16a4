import { render, screen, waitFor, within } from "@testing-library/svelte";
import userEvent from "@testing-library/user-event";
import { describe, expect, it } from "vitest";
import Root from "./App.svelte";
import { MockBackend } from "./lib/backend/mock";
import { App } from "./lib/state/app.svelte";

// Models into the library and out of it, on the in-memory stand-in.

async function open(): Promise<{ app: App; backend: MockBackend }> {
  const backend = new MockBackend({ delay: 0, demo: true });
  const app = new App(backend);
  render(Root, { app });
  await waitFor(() => expect(screen.getByTestId("app")).toHaveAttribute("data-ready", "ready"));
  return { app, backend };
}
const called = (backend: MockBackend, name: string): unknown[] =>
  backend.calls.filter((call) => call.name === name).map((call) => call.args);
const dropped = (backend: MockBackend, ...paths: string[]): void =>
  backend.drop({ kind: "drop", point: { x: 5, y: 5 }, paths });

const user = userEvent.setup();

describe("models by drag and drop", () => {
  it("says what it is and links it", async () => {
    const { backend } = await open();
    const before = called(backend, "adapters").length;
    dropped(backend, "/home/ada/Downloads/ink.safetensors");
    expect(await screen.findByText("SDXL, LoRA, f16 · 228 MB")).toBeInTheDocument();
    await user.click(screen.getByTestId("add-link"));
    await waitFor(() => expect(screen.queryByTestId("add-models")).toBeNull());
    expect(called(backend, "link_model")).toEqual([{ path: "/home/ada/Downloads/ink.safetensors" }]);
    expect(await screen.findByText("ink is in the library.")).toBeInTheDocument();
    // The lists of the window are asked for anew.
    await waitFor(() => expect(called(backend, "adapters").length).toBeGreaterThan(before));
    expect(called(backend, "import_files")).toEqual([]);
  });

  it("copies as a job, beside a picture that goes onto the canvas", async () => {
    const { app, backend } = await open();
    dropped(backend, "/tmp/a.png", "/tmp/ink.safetensors");
    await waitFor(() => expect(called(backend, "import_files")).toHaveLength(1));
    expect(called(backend, "import_files")[0]).toMatchObject({ paths: ["/tmp/a.png"] });
    await user.click(await screen.findByTestId("add-copy"));
    await waitFor(() => expect(app.jobs.at(-1)).toMatchObject({ kind: "copy", label: "ink", state: "done" }));
    expect(await screen.findByText("ink is in the library.")).toBeInTheDocument();
  });

  it("says why something cannot be used, and keeps what failed", async () => {
    const { backend } = await open();
    dropped(backend, "/tmp/old.ckpt");
    expect(await screen.findByRole("alert")).toHaveTextContent("is a pickle");
    expect(screen.queryByTestId("add-link")).toBeNull();
    await user.keyboard("{Escape}");
    await waitFor(() => expect(screen.queryByTestId("add-models")).toBeNull());
    dropped(backend, "/tmp/ink.safetensors");
    backend.failNext = { name: "link_model", message: "There is a LoRA “ink” already." };
    await user.click(await screen.findByTestId("add-link"));
    expect(await screen.findByRole("alert")).toHaveTextContent("already");
    expect(screen.getByTestId("add-models")).toBeInTheDocument();
  });

  it("looks again when the folders change, and lets go of a model that is gone", async () => {
    const { app, backend } = await open();
    app.recipe.model = "/models/gone";
    const before = called(backend, "models").length;
    backend.emit("library", null);
    await waitFor(() => expect(called(backend, "models").length).toBe(before + 1));
    await waitFor(() => expect(app.recipe.model).toBeNull());
  });
});

describe("the models dialog", () => {
  it("lists what is there, with its problems, and removes what is one’s own when told twice", async () => {
    const { backend } = await open();
    await user.click(screen.getByTestId("models-open"));
    const items = await screen.findAllByTestId("library-item");
    expect(items).toHaveLength(3);
    const [starter, ink, old] = items as [HTMLElement, HTMLElement, HTMLElement];
    expect(starter).toHaveTextContent("Licence: Apache-2.0");
    expect(within(starter).queryByTestId("library-remove")).toBeNull();
    expect(ink).toHaveTextContent("Trigger words: ink wash, loose lines");
    expect(within(old).getByTestId("library-problem")).toHaveTextContent("pickle");
    await user.click(within(ink).getByTestId("library-remove"));
    expect(called(backend, "remove_model")).toEqual([]);
    expect(within(ink).getByRole("alertdialog")).toHaveTextContent("The original stays");
    await user.click(within(ink).getByTestId("library-remove-yes"));
    await waitFor(() => expect(screen.getAllByTestId("library-item")).toHaveLength(2));
    expect(called(backend, "remove_model")).toHaveLength(1);
  });

  it("sends nothing before Download is pressed, and then shows the download", async () => {
    const { app, backend } = await open();
    backend.emit("menu", "models");
    await user.click(await screen.findByTestId("models-catalogue"));
    const [canny, sdxl] = (await screen.findAllByTestId("catalogue-item")) as [HTMLElement, HTMLElement];
    expect(canny).toHaveTextContent("723 MB");
    expect(canny).toHaveTextContent("Licence: OpenRAIL. The uses that its appendix names");
    expect(canny).toHaveTextContent("From maker/control-canny");
    expect(sdxl).toHaveTextContent("size is asked for when you download");
    expect(called(backend, "download_model")).toEqual([]);
    await user.click(screen.getByRole("button", { name: "Download ControlNet for edges, SD 1.5" }));
    await waitFor(() => expect(canny).toHaveTextContent("In the library"));
    expect(app.jobs.at(-1)).toMatchObject({ kind: "download", label: "canny-sd15" });
  });

  it("shows why a download failed, and offers to try again", async () => {
    const { app, backend } = await open();
    app.dialog = "models";
    await user.click(await screen.findByTestId("models-catalogue"));
    await screen.findAllByTestId("catalogue-item");
    backend.emit("jobs", [
      {
        id: 99,
        kind: "download",
        label: "sdxl-base",
        state: "failed",
        progress: 0.4,
        stage: "Failed",
        secondsLeft: null,
        seconds: 3,
        region: null,
        previews: [],
        error: "This machine is offline.",
        output: null,
        generation: null,
        warnings: [],
      },
    ]);
    expect(await screen.findByTestId("catalogue-ending")).toHaveTextContent("This machine is offline.");
    expect(screen.getByRole("button", { name: "Try again Stable Diffusion XL" })).toBeEnabled();
  });

  it("adds files that are picked, and comes back", async () => {
    const { app, backend } = await open();
    await user.click(screen.getByTestId("engine"));
    await user.click(await screen.findByTestId("engine-models"));
    backend.nextOpenPaths = ["/tmp/ink.safetensors"];
    await user.click(await screen.findByTestId("models-add-file"));
    await user.click(await screen.findByTestId("add-link"));
    await waitFor(() => expect(app.dialog).toBe("models"));
    expect(await screen.findByText("ink")).toBeInTheDocument();
  });
});
