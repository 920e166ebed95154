// What the page knows, and where it is.

import { get, Problem } from './api.js';

export const state = {
  phase: 'starting', // 'starting', 'out', 'in', 'broken'
  problem: null, // why it is broken
  config: null,
  user: '',
  books: null,
  book: null, // the open one, with its Accounts
  bookProblem: null,
  countries: null,
  banks: {}, // what was found, by country and query
  logos: {}, // of the banks of connections, by provider and id; '' where none is known
  connections: null,
  integrations: null, // of the open Book: {integrations, offered, former}
  attention: {}, // by integration
  visit: null, // to a bank's sign-in
  dialog: null,
  notes: {}, // what came of an action, by the thing that it was about
  busy: {}, // actions under way, by the same
};

let draw = () => {};
let due = false;

export const whenChanged = (f) => (draw = f);

// change takes over what has changed and shows it once all changes of this turn are made.
export function change(changes = {}) {
  Object.assign(state, changes);
  if (due) return;
  due = true;
  queueMicrotask(() => {
    due = false;
    draw();
  });
}

// place is where the page is: its section, and what follows it in the address.
export function place() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [section, ...rest] = path.split('/').map(decodeURIComponent);
  return { section: section || 'banks', rest, query: new URLSearchParams(query) };
}

export const to = (...parts) => `#/${parts.map(encodeURIComponent).join('/')}`;
export const go = (...parts) => (location.hash = to(...parts));

export const openBook = () => new URLSearchParams(location.search).get('book') ?? '';

// visitBook opens a Book, in the address too, so that it can be sent to somebody.
export function visitBook(id) {
  const url = new URL(location.href);
  url.searchParams.set('book', id);
  history.pushState(null, '', url);
  return loadBook();
}

export const edits = () => ['OWNER', 'EDITOR'].includes(state.book?.permission);

// loadBook reads the open Book. Where another one was open, it is not shown any more meanwhile.
export async function loadBook() {
  const id = openBook();
  if (state.book?.id !== id) change({ book: null, bookProblem: null, integrations: null, attention: {} });
  if (!id) return;
  try {
    const [book, integrations] = await Promise.all([get('book', { book: id }), get('integrations', { book: id })]);
    if (id === openBook()) change({ book, integrations });
    loadLogos(integrations.offered);
  } catch (problem) {
    if (id === openBook()) change({ bookProblem: problem });
  }
}

export async function loadIntegrations() {
  const id = openBook();
  if (!id) return;
  const integrations = await get('integrations', { book: id });
  if (id === openBook()) change({ integrations });
  loadLogos(integrations.offered);
}

export async function loadConnections() {
  const { connections } = await get('connections');
  change({ connections });
  loadLogos(connections);
}

const bankOf = (connection) => `${connection.provider} ${connection.institution_id}`;

export const logoOf = (connection) => state.logos[bankOf(connection)] ?? '';

// loadLogos asks once for each bank that is not known yet; browsers keep the answer for a day. A bank without a logo has its
// letter.
function loadLogos(connections) {
  for (const c of connections) {
    const bank = bankOf(c);
    if (bank in state.logos) continue;
    state.logos[bank] = '';
    get('bank', { provider: c.provider, country: c.country, id: c.institution_id }, { cache: 'default' })
      .then(({ logo }) => change({ logos: { ...state.logos, [bank]: logo ?? '' } }))
      .catch(() => {});
  }
}

export async function loadCountries() {
  change({ countries: (await get('countries')).countries });
}

// reload reads again what may have changed. What fails is tried again at the next time.
export const reload = () => Promise.allSettled([loadIntegrations(), loadConnections()]);

export async function loadAttention(integration) {
  const { rows } = await get('attention', { book: openBook(), integration });
  change({ attention: { ...state.attention, [integration]: rows } });
}

const moving = () =>
  state.integrations?.integrations.some((i) => i.status === 'importing' || i.status === 'stopping') ||
  state.connections?.some((c) => c.status === 'stopping') || Date.now() < hurried;

let hurried = 0;
const haste = 30e3;

// hurry looks often for a while, because something was asked for that takes a moment.
export function hurry() {
  hurried = Date.now() + haste;
  schedule();
}

const often = 1500;
const seldom = 30e3;
let timer;

// schedule looks again: often while something moves, seldom otherwise, and not while nobody looks at the page.
export function schedule() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (state.phase === 'in' && !document.hidden) await reload();
    schedule();
  }, moving() ? often : seldom);
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && state.phase === 'in') reload().then(schedule);
});

// act runs an action about a thing, which is busy meanwhile, and notes what came of it beside the thing.
export async function act(thing, run) {
  if (state.busy[thing]) return undefined;
  change({ busy: { ...state.busy, [thing]: true }, notes: { ...state.notes, [thing]: undefined } });
  try {
    return await run();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    note(thing, { problem });
    return undefined;
  } finally {
    change({ busy: { ...state.busy, [thing]: undefined } });
  }
}

export const note = (thing, what) => change({ notes: { ...state.notes, [thing]: what } });

export const providerOf = (name) => state.config.providers.find((p) => p.name === name);

// days of history that the banks of a connection's provider give at most.
export const historyOf = (provider) => providerOf(provider)?.days ?? 0;

// adds tells whether more accounts of a connection can be shared without connecting anew.
export const adds = (connection) => Boolean(providerOf(connection.provider)?.adds?.includes(connection.country));

export const bookName = (id) => state.books?.find((b) => b.id === id)?.name;

// connectionOf finds a connection, the person's own or one that was offered to the open Book.
export const connectionOf = (id) => state.connections?.find((c) => c.id === id) ?? state.integrations?.offered.find((c) => c.id === id);

export const linkOf = (connection, key) => state.integrations?.integrations.find((i) => i.connection === connection && i.key === key);
