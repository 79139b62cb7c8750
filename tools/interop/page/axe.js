// Prints what axe-core finds in an HTML file, as JSON. Arguments: the directory of the packages, the file.
const [directory, page] = process.argv.slice(2);
const { createRequire } = require("node:module");
const installed = createRequire(`${directory}/package.json`);
const { JSDOM } = installed("jsdom");
const fs = require("node:fs");

const { window } = new JSDOM(fs.readFileSync(page, "utf8"), { runScripts: "outside-only" });
window.eval(fs.readFileSync(installed.resolve("axe-core/axe.min.js"), "utf8"));
// Colours are not computed without a layout: `test_colours_can_be_read` does that.
const options = { rules: { "color-contrast": { enabled: false } }, resultTypes: ["violations"] };
window.axe.run(window.document, options).then((results) => {
    const found = results.violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html) }));
    console.log(JSON.stringify({ found, passes: results.passes.length }));
});
