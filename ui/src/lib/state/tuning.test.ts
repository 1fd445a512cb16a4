import { describe, expect, it } from "vitest";
import type { GenerationView } from "../backend/types";
import { samplerName } from "./jobs";
import { Recipe } from "./recipe.svelte";
import { isTemplate, literal, PLAIN, TuningState, withWords } from "./tuning.svelte";

describe("what changes the model", () => {
  it("keeps each LoRA once, with its weight", () => {
    const tuning = new TuningState();
    tuning.addLora("ink");
    tuning.addLora("grain");
    tuning.weigh("ink", -0.5);
    tuning.addLora("ink");
    expect(tuning.value.loras).toEqual([
      { name: "ink", weight: -0.5 },
      { name: "grain", weight: 1 },
    ]);
    tuning.removeLora("ink");
    tuning.addEmbedding("calm");
    tuning.addEmbedding("calm");
    expect(tuning.value.loras).toEqual([{ name: "grain", weight: 1 }]);
    expect(tuning.value.embeddings).toEqual([{ name: "calm", word: null }]);
  });

  it("says what is not as usual", () => {
    const tuning = new TuningState();
    expect(tuning.summary).toBe("");
    tuning.addLora("a");
    tuning.addLora("b");
    tuning.clipSkip = 1;
    tuning.guidanceRescale = 0.7;
    tuning.vae = "soft";
    expect(tuning.summary).toBe("2 LoRAs · clip skip 1 · rescale 0.70 · other VAE");
    tuning.value = PLAIN;
    expect(tuning.summary).toBe("");
  });

  it("is part of a picture's recipe, and comes back with it", () => {
    const recipe = new Recipe();
    recipe.tuning.addLora("ink");
    recipe.style = "woodcut";
    const { tuning, style } = recipe.settings();
    expect([tuning.loras, style]).toEqual([[{ name: "ink", weight: 1 }], "woodcut"]);
    const made = {
      prompt: "a red {barn}",
      negative: "people",
      steps: 9,
      guidance: 3,
      sampler: "euler-a",
      tuning: { ...PLAIN, clipSkip: 1 },
      controls: [
        {
          network: "depth",
          picture: { kind: "stored", blob: "ab" },
          scale: 0.8,
          start: 0,
          end: 0.6,
          canny: null,
        },
      ],
    } as GenerationView;
    recipe.reuse(made, { id: "2", prompt: "a blue {barn}", seed: "41", seconds: 1, width: 8, height: 8 });
    expect(recipe.prompt).toBe("a blue \\{barn\\}");
    const again = recipe.settings();
    expect([again.seed, again.style, again.tuning.clipSkip, again.tuning.loras]).toEqual(["41", null, 1, []]);
    expect(again.controls).toEqual(made.controls);
    expect(recipe.unsteered().controls).toEqual([]);
  });
});

describe("prompts", () => {
  it("can be taken at their word", () => {
    expect(literal("a {b,c} __sky__ d_e __ f")).toBe("a \\{b,c\\} \\__sky__ d_e __ f");
    expect(literal("plain (words:1.2)")).toBe("plain (words:1.2)");
  });

  it("tell whether something is to be filled in", () => {
    for (const prompt of ["a {b,c}", "under __sky__", "__a/b__"]) expect(isTemplate(prompt)).toBe(true);
    for (const prompt of ["a lake", "\\{b\\}", "\\__sky__", "a_b __ c"])
      expect(isTemplate(prompt)).toBe(false);
  });

  it("take trigger words once", () => {
    expect(withWords("a lake", "ink wash")).toBe("a lake, ink wash");
    expect(withWords("a lake, Ink Wash, dusk", "ink wash")).toBe("a lake, Ink Wash, dusk");
    expect(withWords(" ", "ink wash")).toBe("ink wash");
    expect(withWords("a lake,", "ink wash")).toBe("a lake, ink wash");
  });

  it("name samplers as people do", () => {
    expect(["euler-a", "dpmpp-2m-sde-karras", "lcm", "unipc"].map(samplerName)).toEqual([
      "Euler ancestral",
      "DPM++ 2M SDE Karras",
      "LCM",
      "UniPC",
    ]);
  });
});
