// Parts that all sections share.

import { h } from './dom.js';
import { has, plain, t } from './text.js';
import { loginURL } from './api.js';
import { logoOf, state } from './state.js';

const icons = {
  apps: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z',
  bots: 'M12 3v4M5 9a2 2 0 0 1 2-2h10a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2zM9 12v1M15 12v1M9.500 16h5M2 12v3M22 12v3',
  banks: 'M3 10 12 4l9 6M4 10h16M6 10v8M10 10v8M14 10v8M18 10v8M3 20h18',
  connections: 'M9 15l6-6M10.500 6.500l1.500-1.500a4.200 4.200 0 0 1 6 6l-1.500 1.500M13.500 17.500l-1.500 1.500a4.200 4.200 0 0 1-6-6l1.500-1.500',
  integrations: 'M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h5',
  back: 'M19 12H5M11 6l-6 6 6 6',
  right: 'M9 6l6 6-6 6',
  check: 'M5 13l4 4L19 7',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4 4',
  warn: 'M12 4 2.500 20h19zM12 10v4M12 17v.5',
  lock: 'M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3',
};

export const icon = (name) =>
  h('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, h('path', { d: icons[name] }));

export const button = (label, onclick, { kind = '', busy = false, disabled = false, ...props } = {}) =>
  h('button', { type: 'button', class: `button ${kind}`, disabled: busy || disabled, 'aria-busy': busy ? 'true' : undefined, onclick, ...props }, label);

export const link = (label, href, props = {}) => h('a', { href, ...props }, label);

const bookURL = () => state.config.book.replace('{book}', encodeURIComponent(state.book.id));
const outside = { target: '_blank', rel: 'noopener' };

// toBook leads to the open Book itself, in Bkper.
export const toBook = (label, props) => link(label, bookURL(), { ...outside, ...props });

// toRecord leads to a transaction of the open Book.
export const toRecord = (label, id, props) => link(label, `${bookURL()}/${encodeURIComponent(id)}`, { ...outside, ...props });

// heading is the one of a section. It takes the focus when the section opens, so that a screen reader begins there.
export const heading = (text) => h('h1', { tabindex: '-1', key: text }, text);

export const spinner = (label) => h('p', { class: 'waiting' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), label);

const kinds = {
  connected: 'good', live: 'good',
  importing: 'busy', stopping: 'busy',
  expiring: 'warn', needs_you: 'warn', needs_owner: 'warn', bank_unavailable: 'warn', consent_required: 'warn', no_access: 'warn',
  ledger_unavailable: 'warn', account_archived: 'warn', account_gone: 'bad', book_gone: 'bad', bank_account_gone: 'bad',
};

export const badge = (status, label) => h('span', { class: `badge ${kinds[status] ?? 'quiet'}` }, label);

// explain is what a problem means, in the person's language where the page knows the code.
export const explain = (problem) => (has(`error.${problem.code}`) ? t(`error.${problem.code}`) : problem.detail);

// contact is where a person turns to, with the bank's name filled in.
export function contact(bank, problem) {
  const subject = bank ? t('contact.subject', { bank }) : t('contact.subject.any');
  const about = [bank && t('contact.bank', { bank }), state.book && t('contact.book', { book: state.book.name }),
    problem?.code && t('contact.code', { code: problem.code }), problem?.trace && t('contact.trace', { trace: problem.trace })];
  const body = `${t('contact.body')}\n\n\n${about.filter(Boolean).join('\n')}`;
  const query = [`subject=${encodeURIComponent(subject)}`, `body=${encodeURIComponent(body)}`].join('&');
  return h('a', { class: 'contact', href: `mailto:${state.config?.support ?? ''}?${query}` }, t('contact'));
}

// refusal shows a problem, with the way on and where to turn.
export const refusal = (problem, bank, ...more) =>
  h('div', { class: 'notice bad', role: 'alert' }, h('p', null, explain(problem)),
    problem.trace && problem.status >= 500 ? h('p', { class: 'small' }, t('contact.trace', { trace: problem.trace })) : null,
    h('p', { class: 'actions' }, more,
      problem.code === 'consent_required' ? h('a', { class: 'button primary', href: loginURL(problem.url) }, t('link.consent')) : null,
      contact(bank, problem)));

export const notice = (kind, ...content) => h('div', { class: `notice ${kind}`, role: kind === 'bad' ? 'alert' : undefined }, content);

// outcome shows what act has noted about a thing.
export function outcome(thing, bank) {
  const note = state.notes[thing];
  if (!note) return null;
  if (note.problem) return refusal(note.problem, bank);
  return notice('good', h('p', null, note.text));
}

let said = '';

// say lets a screen reader say something that sighted people see happen.
export function say(text) {
  said = said === text ? `${text}\u00a0` : text;
  document.getElementById('said').textContent = said;
}

// monogram stands for a bank without a logo.
const monogram = (name, colour) =>
  h('span', { class: 'logo monogram', 'aria-hidden': 'true', css: colour ? { '--bank': colour } : {} }, [...name.replace(/^(the|banco|banca|banque|bank) /i, '')][0]?.toUpperCase() ?? '?');

// logo is that of a bank; alt is empty because the bank's name stands beside it.
export const logo = (bank) =>
  bank.logo ? h('img', { class: 'logo', src: bank.logo, alt: '', loading: 'lazy', width: 40, height: 40 }) : monogram(bank.name, bank.colour);

// mark is the logo of a connection's bank.
export const mark = (name, connection) => logo({ name, colour: connection?.colour, logo: connection && logoOf(connection) });

let before = []; // where the focus was when a dialog opened, and around it

// giveBack returns the focus after a dialog, to where it was or as near as there is something left.
export function giveBack() {
  const node = before.find((n) => n.isConnected);
  before = [];
  if (!node) return;
  if (node.tabIndex < 0) node.setAttribute('tabindex', '-1');
  node.focus({ preventScroll: true });
}

function over(node) {
  before = [];
  for (let n = document.activeElement; n && n !== document.body; n = n.parentElement) before.push(n);
  node.showModal();
}

// dialog is shown over the page, and keeps the focus until it is closed.
export function dialog({ title, close, key }, ...content) {
  return h('dialog', {
    key, 'aria-labelledby': 'dialog-title',
    ref: over,
    oncancel: (e) => { e.preventDefault(); close(); },
    onclick: (e) => { if (e.target === e.currentTarget) close(); },
  }, h('div', { class: 'sheet' }, h('h2', { id: 'dialog-title', tabindex: '-1', autofocus: true }, title), content));
}

// confirm asks before something ends; what will stop is named.
export const confirm = ({ key, title, label, kind = 'danger', busy, close, run, note }, ...content) =>
  dialog({ key, title, close }, content, note,
    h('p', { class: 'actions' }, button(label, run, { kind, busy }), button(t('cancel'), close, { disabled: busy })));

export const field = (label, id, control, hint) =>
  h('div', { class: 'field' }, h('label', { for: id }, label), control, hint ? h('p', { class: 'hint', id: `${id}-hint` }, hint) : null);

// combobox lets a person type to search: the pattern "combobox with list" of the ARIA guide. value is what is typed, options
// those that fit; each has an id, a label and what is said beside it.
export function combobox({ id, value, open, active, options, disabled, oninput, onpick, onopen, onclose, onmove, describedby, placeholder }) {
  const at = Math.min(active, options.length - 1);
  const keys = {
    ArrowDown: () => (open ? onmove((at + 1) % Math.max(options.length, 1)) : onopen()),
    ArrowUp: () => (open ? onmove((at - 1 + options.length) % Math.max(options.length, 1)) : onopen()),
    Enter: () => open && options[at] && onpick(options[at]),
    Escape: () => open && onclose(),
    Tab: () => { if (open) onclose(); return 'on'; },
  };
  return h('div', { class: 'combobox' },
    h('input', {
      id, type: 'text', role: 'combobox', autocomplete: 'off', spellcheck: 'false', value, placeholder, disabled,
      'aria-expanded': open ? 'true' : 'false', 'aria-controls': `${id}-list`, 'aria-autocomplete': 'list', 'aria-describedby': describedby,
      'aria-activedescendant': open && options[at] ? `${id}-${at}` : undefined,
      oninput: (e) => oninput(e.target.value),
      // What is typed next replaces what stands.
      onclick: (e) => { if (!open) e.target.select(); onopen(); },
      onblur: () => open && onclose(),
      // Enter chooses, and never sends the form: a choice is often not the last one.
      onkeypress: (e) => e.key === 'Enter' && e.preventDefault(),
      onkeydown: (e) => {
        if (!keys[e.key] || (['Enter', 'Escape'].includes(e.key) && !open)) return;
        if (keys[e.key]() !== 'on') e.preventDefault();
        if (e.key === 'Escape') e.stopPropagation();
        requestAnimationFrame(() => document.querySelector(`#${id}-list [aria-selected=true]`)?.scrollIntoView({ block: 'nearest' }));
      },
    }),
    // Whoever scrolls the list with the mouse has not left the field.
    h('ul', { id: `${id}-list`, role: 'listbox', 'aria-label': t('options'), hidden: !open, onmousedown: (e) => e.preventDefault() },
      options.map((o, i) => h('li', {
        key: o.id, id: `${id}-${i}`, role: 'option', class: o.kind, 'aria-selected': i === at ? 'true' : 'false',
        onclick: () => onpick(o),
      }, h('span', null, o.label), o.beside ? h('span', { class: 'hint' }, o.beside) : null))));
}

export const fits = (text, query) => plain(text).includes(plain(query.trim()));

// meter shows how far an import is; fraction is null where nobody knows yet.
export const meter = (fraction, label) =>
  h('progress', { 'aria-label': label, max: '1', value: fraction === null ? undefined : String(fraction) });
