// What is shown, as a tree of plain objects, and the least change of the document that makes it so. Nodes stay where they
// are, so that focus, selection and scrolling survive while lists are read again. Texts become text nodes, never markup.

const svg = 'http://www.w3.org/2000/svg';

// h describes an element. Of its properties, those that begin with "on" are listeners, "css" holds custom properties of its
// style, "ref" is called with the element once it stands in the document, and "key" tells it from its sisters.
export function h(type, props, ...children) {
  return { type, props: props ?? {}, children: children.flat(Infinity).filter(shown) };
}

const shown = (child) => child !== null && child !== undefined && child !== false && child !== '';

// show makes root hold what is described.
export function show(root, ...described) {
  const mounted = [];
  fill(root, described.flat(Infinity).filter(shown), false, mounted);
  for (const [ref, node] of mounted) ref(node);
}

const memory = new WeakMap(); // element → what it was made of

function fill(parent, described, inSVG, mounted) {
  const before = new Map();
  const counts = {};
  for (const node of parent.childNodes) before.set(memory.get(node)?.key, node);
  let at = parent.firstChild;
  for (const d of described) {
    const key = keyOf(d, counts);
    let node = before.get(key);
    if (node) {
      before.delete(key);
    } else {
      node = make(d, inSVG);
      memory.set(node, { key, props: {} });
      if (d.props?.ref) mounted.push([d.props.ref, node]);
    }
    if (node === at) {
      at = at.nextSibling;
    } else {
      // What no longer stands goes first: what stays is then not moved, and keeps the focus.
      while (at && !stays(at, described, before)) {
        const next = at.nextSibling;
        before.delete(memory.get(at)?.key);
        at.remove();
        at = next;
      }
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
    }
    dress(node, d, inSVG, mounted);
  }
  for (const node of before.values()) node.remove();
}

function stays(node, described) {
  const counts = {};
  const key = memory.get(node)?.key;
  return described.some((d) => keyOf(d, counts) === key);
}

// keyOf tells sisters apart: by their own key, or by being the n-th of their kind.
function keyOf(d, counts) {
  const type = d.type ?? '#';
  if (d.props?.key !== undefined) return `${type}:${d.props.key}`;
  counts[type] = (counts[type] ?? 0) + 1;
  return `${type} ${counts[type]}`;
}

function make(d, inSVG) {
  if (d.type === undefined) return document.createTextNode('');
  return inSVG || d.type === 'svg' ? document.createElementNS(svg, d.type) : document.createElement(d.type);
}

function dress(node, d, inSVG, mounted) {
  if (d.type === undefined) {
    if (node.data !== String(d)) node.data = String(d);
    return;
  }
  const had = memory.get(node);
  for (const name of Object.keys(had.props)) if (!(name in d.props)) set(node, name, undefined);
  fill(node, d.children, inSVG || d.type === 'svg', mounted);
  for (const [name, value] of Object.entries(d.props)) if (had.props[name] !== value || live.has(name)) set(node, name, value);
  had.props = d.props;
}

// live properties are also changed by the person, so what was set last says nothing.
const live = new Set(['value', 'checked']);

function set(node, name, value) {
  if (name === 'key' || name === 'ref') return;
  if (name === 'css') {
    for (const [property, v] of Object.entries(value ?? {})) node.style.setProperty(property, v);
  } else if (name.startsWith('on')) {
    node[name] = value ? (e) => void value(e) : null; // to return false would cancel the event
  } else if (live.has(name) && node.tagName !== 'PROGRESS') {
    if (node[name] !== value) node[name] = value ?? '';
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? '' : value);
  }
}
