// Reads the status page in the frame next to it: texts, states, widths, colours.

const text = (element) => (element ? element.innerText.trim() : "");
const width = (element) => element.getBoundingClientRect().width;
const named = (list, row) => Object.fromEntries([...list].map(row));
const style = (element) => element.ownerDocument.defaultView.getComputedStyle(element);
const channels = (colour) => [...colour.match(/[\d.]+/g).map(Number), 1].slice(0, 4);

// Relative luminance and contrast as defined by WCAG 2.2.
function luminance(colour) {
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => sum + share * linear(colour[i] / 255), 0);
}

function behind(element) {
  for (; element; element = element.parentElement) {
    const colour = channels(style(element).backgroundColor);
    if (colour[3] > 0) return colour;
  }
  return [255, 255, 255, 1];
}

function contrast(element) {
  const [dark, bright] = [luminance(channels(style(element).color)), luminance(behind(element))].sort();
  return (bright + 0.05) / (dark + 0.05);
}

function look(page) {
  const all = [...page.body.querySelectorAll("*")];
  const words = all.filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return {
    verdict: text(page.querySelector(".verdict")),
    cards: named(page.querySelectorAll(".cards li"), (li) => [
      text(li.querySelector("h2")),
      { state: li.className, mark: text(li.querySelector(".mark")), text: text(li) },
    ]),
    bars: named(page.querySelectorAll(".bars li"), (li) => [
      `${li.closest("section").id} ${text(li.querySelector("span"))}`,
      {
        state: li.className,
        text: text(li.querySelector("b")),
        group: text(li.closest("ul").previousElementSibling),
        share: width(li.querySelector(".track i")) / width(li.querySelector(".track")),
      },
    ]),
    gates: named(page.querySelectorAll(".gates li"), (li) => [
      text(li.querySelector("h3")),
      {
        state: li.className,
        value: text(li.querySelector(".value")),
        margin: text(li.querySelector(".margin")),
        mark: text(li.querySelector("b")),
        colour: style(li.querySelector("b")).color,
      },
    ]),
    facts: named(page.querySelectorAll("dt"), (dt) => [text(dt), text(dt.nextElementSibling)]),
    sections: named(page.querySelectorAll("section"), (section) => [section.id, text(section)]),
    links: [...page.querySelectorAll("a")].map((a) => a.href),
    asked_for: page.defaultView.performance.getEntriesByType("resource").map((entry) => entry.name),
    width_px: page.documentElement.clientWidth,
    widest_px: Math.max(page.documentElement.scrollWidth, ...all.map((e) => e.getBoundingClientRect().right)),
    contrast: Math.min(...words.map(contrast)),
    brightness: luminance(behind(page.body)),
  };
}

onload = () => {
  try {
    seen.textContent = JSON.stringify(look(frame.contentDocument));
  } catch (error) {
    seen.textContent = JSON.stringify(String(error));
  }
};
