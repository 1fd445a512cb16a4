import { describe, expect, it } from "vitest";
import { dropIndex } from "../panels/layers";
import { ago } from "../panels/time";
import { Recipe } from "./recipe.svelte";

describe("the recipe", () => {
  it("takes another seed each time unless it is locked", () => {
    const recipe = new Recipe();
    recipe.seed = "77";
    recipe.seedLocked = true;
    recipe.nextSeed();
    expect(recipe.settings().seed).toBe("77");
    recipe.seedLocked = false;
    const seeds = new Set(Array.from({ length: 5 }, () => (recipe.nextSeed(), recipe.seed)));
    expect(seeds.size).toBeGreaterThan(1);
  });

  it("goes back through prompts and returns to the draft", () => {
    const recipe = new Recipe();
    for (const prompt of ["one", "two"]) {
      recipe.prompt = prompt;
      recipe.remember();
    }
    recipe.prompt = "draft";
    expect(recipe.recall(-1)).toBe(true);
    expect(recipe.prompt).toBe("two");
    recipe.recall(-1);
    expect(recipe.prompt).toBe("one");
    expect(recipe.recall(-1)).toBe(false);
    recipe.recall(1);
    recipe.recall(1);
    expect(recipe.prompt).toBe("draft");
    expect(recipe.recall(1)).toBe(false);
  });
});

describe("small things", () => {
  it("finds the place between rows", () => {
    expect(dropIndex([20, 60, 100], 5)).toBe(0);
    expect(dropIndex([20, 60, 100], 61)).toBe(2);
    expect(dropIndex([20, 60, 100], 500)).toBe(3);
  });

  it("tells how long ago", () => {
    const now = Date.UTC(2026, 10, 24, 12);
    expect(ago(now - 30_000, now)).toBe("just now");
    expect(ago(now - 61 * 60_000, now)).toBe("an hour ago");
    expect(ago(now - 30 * 3_600_000, now)).toBe("yesterday");
    expect(ago(now - 40 * 86_400_000, now)).toBe("15 Oct 2026");
  });
});
