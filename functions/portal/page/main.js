// The page: who is signed in, which Book is open, which section is shown.

import { h, show } from './dom.js';
import { learn, t } from './text.js';
import { configure, get, loginURL, logoutURL, signIn, whenSignedOut } from './api.js';
import { change, loadBook, loadConnections, openBook, place, schedule, state, to, visitBook, whenChanged } from './state.js';
import { button, giveBack, heading, icon, link, notice, outcome, refusal, spinner, toBook } from './ui.js';
import { banks, readCountries } from './banks.js';
import { connections, disconnecting, stopping } from './connections.js';
import { importing, integrations, removing } from './integrations.js';
import { linking, resume as resumeLink } from './link.js';
import { apps, bots } from './automations.js';
import { comeBack, goOn, home, resume } from './visit.js';

const sections = { apps, bots, banks, connections, integrations };
const ofBook = ['banks', 'integrations']; // which make no sense without one
const dialogs = { link: linking, disconnect: disconnecting, stop: stopping, remove: removing, again: importing };

function page() {
  switch (state.phase) {
    case 'starting': return h('div', { class: 'alone' }, spinner(t('loading')));
    case 'closing': return alone(heading(t('closing')), h('p', null, t('closing.detail')));
    case 'broken': return alone(heading(t('broken')), refusal(state.problem, '', button(t('retry'), () => location.reload(), { kind: 'primary' })));
    case 'out': return alone(...door());
    default: return [link(t('skip'), '#main', { class: 'skip', onclick: skip }), shell()];
  }
}

const alone = (...content) => h('main', { id: 'main', class: 'alone' }, h('div', { class: 'card door' }, brand(), content));

const brand = () => h('p', { class: 'brand' }, icon('banks'), h('span', null, 'Bkper'), h('span', { class: 'small' }, t('portal')));

function door() {
  const outcome = new URLSearchParams(location.search).get('signin');
  return [
    heading(t('door')), h('p', null, t('door.lead')),
    outcome ? notice('warn', h('p', null, t(outcome === 'denied' ? 'door.denied' : 'door.failed'))) : null,
    h('p', { class: 'actions' }, h('a', { class: 'button primary', href: loginURL() }, t('door.in'))),
  ];
}

function skip(e) {
  e.preventDefault();
  document.getElementById('main').focus();
}

function shell() {
  const { section } = place();
  const dialog = dialogs[state.dialog?.kind];
  return h('div', { class: 'shell' },
    h('header', { class: 'panel' },
      brand(),
      switcher(),
      h('nav', { 'aria-label': t('portal') }, h('ul', null, Object.keys(sections).map((name) =>
        h('li', { key: name }, h('a', { href: to(name), 'aria-current': name === section ? 'page' : undefined }, icon(name), t(name)))))),
      h('p', { class: 'who' }, h('span', { class: 'small', title: state.user }, state.user), h('a', { href: logoutURL() }, t('out')))),
    h('main', { id: 'main', tabindex: '-1' }, h('div', { class: 'content', key: section }, content(section), outcome('removed'))),
    dialog ? dialog() : null);
}

function switcher() {
  if (!state.books) return null;
  const known = state.books.some((b) => b.id === openBook());
  return h('div', { class: 'field book' }, h('label', { for: 'book' }, t('book')),
    h('select', { id: 'book', value: known ? openBook() : '', onchange: (e) => { if (e.target.value) visitBook(e.target.value); } },
      known ? null : h('option', { key: '', value: '' }, t('book.choose')),
      state.books.map((b) => h('option', { key: b.id, value: b.id }, b.name))),
    state.book ? toBook(t('book.open'), { class: 'small', 'aria-label': t('book.open.name', { book: state.book.name }) }) : null);
}

function content(section) {
  const view = sections[section];
  if (!view) return [heading(t('nowhere')), h('p', null, link(t('banks'), to('banks')))];
  if (!ofBook.includes(section) || (state.visit && section === 'banks')) return view();
  if (!openBook()) return choice();
  if (state.bookProblem) return [heading(t(section)), refusal(state.bookProblem, '', button(t('retry'), loadBook))];
  if (!state.book) return [heading(t(section)), spinner(t('loading'))];
  return view();
}

// choice asks for a Book where none is open.
function choice() {
  if (!state.books) return [heading(t('book.which')), spinner(t('loading'))];
  return [
    heading(t('book.which')), h('p', { class: 'lead' }, t('book.which.lead')),
    state.books.length ? h('ul', { class: 'tiles', 'aria-label': t('book.which') }, state.books.map((b) =>
      h('li', { key: b.id }, h('a', { class: 'tile', href: bookAddress(b.id), onclick: (e) => { e.preventDefault(); visitBook(b.id); } },
        h('span', null, b.name, h('span', { class: 'small' }, [b.currency, t(`permission.${b.permission}`)].filter(Boolean).join(' · '))), icon('right')))))
      : notice('', h('p', null, t('book.none'))),
  ];
}

function bookAddress(id) {
  const url = new URL(location.href);
  url.searchParams.set('book', id);
  return url.href;
}

const root = document.getElementById('page');
let stood = '';
let asked = null; // the dialog that was open

function draw() {
  show(root, page());
  const { section, rest } = place();
  const at = [state.phase, section, ...rest, state.visit ? state.visit.phase : '', openBook()].join('/');
  document.title = [document.querySelector('h1')?.textContent, t('portal'), 'Bkper'].filter(Boolean).join(' – ');
  if (stood && at !== stood && !state.dialog) {
    scrollTo(0, 0);
    document.querySelector('h1')?.focus({ preventScroll: true });
  } else if (asked && !state.dialog) giveBack();
  if (at !== stood) document.querySelector('nav [aria-current]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  stood = at;
  asked = state.dialog;
}

const clean = (...names) => {
  const url = new URL(location.href);
  for (const name of names) url.searchParams.delete(name);
  history.replaceState(null, '', url);
};

async function start() {
  whenChanged(draw);
  const session = new URLSearchParams(location.search).get('session');
  await learn();
  if (session && await comeBack(session)) {
    change({ phase: 'closing' });
    window.close(); // which only works in a window that a page has opened
    return;
  }
  change();
  try {
    const config = await configure();
    change({ config });
    if (!(await signIn())) return void change({ phase: 'out' });
    clean('signin');
    await enter(session);
  } catch (problem) {
    if (!problem.code) throw problem;
    change({ phase: 'broken', problem });
  }
}

async function enter(session) {
  const visit = session ? resume(session) : null;
  if (session) {
    clean('session');
    location.hash = to(home(visit));
  }
  change({ phase: 'in' });
  readCountries();
  if (visit) goOn(visit);
  const [user, books] = await Promise.all([get('user'), get('books'), loadBook(), loadConnections()]);
  change({ user: user.email, books: books.books });
  resumeLink();
  schedule();
}

whenSignedOut(() => change({ phase: 'out' }));
addEventListener('hashchange', () => change({ dialog: null, notes: {} }));
addEventListener('popstate', () => { if (state.phase === 'in' && openBook() !== (state.book?.id ?? '')) loadBook(); });
start();
