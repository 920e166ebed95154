// A visit to a bank's sign-in: in a window of its own where the provider has a page, over this page where it has a widget.
// What came of it is asked from our own functions; that a window has closed, or came back, proves nothing.

import { h } from './dom.js';
import { language, t } from './text.js';
import { Problem, post, widget } from './api.js';
import { change, go, hurry, openBook, providerOf, reload, state } from './state.js';
import { button, contact, heading, icon, notice, refusal, say, spinner } from './ui.js';

const kept = 'visit'; // in the session's storage, for a browser that goes to the bank in this very tab
const pace = 2000;

// connect goes to a bank to make a connection; from a Book, to which it is then offered.
export const connect = ({ book, country, provider, bank }) =>
  begin({ bank, provider, purpose: 'connect', start: () => post('connect', { book, country, provider, language }) });

const about = (c, purpose, action) =>
  begin({
    bank: { id: c.institution_id, name: c.institution, colour: c.colour }, provider: c.provider, purpose, connection: c.id,
    start: () => post(action, { connection: c.id, language }),
  });

export const reconnect = (c) => about(c, 'repair', 'reconnect');
export const addAccounts = (c) => about(c, 'accounts', 'connect/accounts');

const put = (visit, changes) => {
  if (state.visit === visit || visit.fresh) {
    visit.fresh = false;
    Object.assign(visit, changes);
    change({ visit });
  }
};

// home is the section in which a visit is shown: that of what it is about.
export const home = (visit) => (visit.connection ? 'connections' : 'banks');

async function begin(visit) {
  const module = providerOf(visit.provider)?.widget;
  // Browsers open windows for a click alone, so this one opens before its address is known.
  const opened = module ? null : blank(visit);
  visit.window = opened;
  visit.module = module;
  visit.fresh = true;
  put(visit, { phase: 'starting' });
  go(home(visit));
  try {
    const started = await visit.start();
    if (state.visit !== visit) return void opened?.close();
    put(visit, { session: started.session, url: safe(started.url), expires: Date.parse(started.expires) });
    remember(visit);
    if (started.widget) await show(visit, module, started.widget);
    else away(visit);
  } catch (problem) {
    opened?.close();
    put(visit, { phase: 'failed', problem: problem instanceof Problem ? problem : new Problem({ code: 'widget', detail: t('error.widget') }) });
  }
}

function blank(visit) {
  const opened = window.open('', '_blank', 'popup,width=480,height=760');
  if (opened) opened.document.title = t('visit.opening', { bank: visit.bank.name });
  return opened;
}

// send lets a window go to the bank, which learns nothing of this page.
function send(opened, url) {
  opened.opener = null;
  opened.location.replace(url);
}

// safe lets only addresses of pages pass: the address comes from a service.
const safe = (url) => (url && ['https:', 'http:'].includes(new URL(url).protocol) ? url : '');

function away(visit) {
  if (visit.window && !visit.window.closed) {
    send(visit.window, visit.url);
    put(visit, { phase: 'open' });
  } else {
    put(visit, { phase: 'blocked', window: null });
  }
  poll(visit);
}

async function show(visit, path, token) {
  put(visit, { phase: 'widget' });
  const module = await widget(path);
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const { item } = await module.open({ token, language: language.slice(0, 2), dark, institution: visit.bank.id ?? '' });
  put(visit, { phase: 'finishing', item, back: true });
  poll(visit);
}

const final = ['kept', 'duplicate', 'cancelled', 'refused', 'lost'];

async function poll(visit) {
  while (state.visit === visit) {
    const done = await ask(visit);
    if (state.visit !== visit) return;
    if (done) return void finish(visit, done);
    if (visit.phase === 'open' && visit.window?.closed) {
      put(visit, { phase: 'closed' });
      say(t('visit.closed', { bank: visit.bank.name }));
    }
    await new Promise((next) => setTimeout(next, pace));
  }
}

const patience = 10; // times that the widget's item may not be known yet

// ask asks once what came of a visit; null where that is not known yet.
async function ask(visit) {
  try {
    const done = await post('connect/complete', { session: visit.session, ...(visit.item ? { item: visit.item } : {}) });
    if (final.includes(done.state)) return done;
    visit.asked = (visit.asked ?? 0) + 1;
    if (done.state === 'exchanging') put(visit, { phase: 'finishing' });
    else if (visit.back && visit.module && (!visit.item || done.reason || visit.asked > patience)) return { ...done, state: 'cancelled' };
    return null;
  } catch (problem) {
    if (problem.code === 'busy') {
      put(visit, { phase: 'busy', problem });
      return null;
    }
    return problem.status >= 500 || problem.status === 0 ? null : { state: 'failed', problem };
  }
}

const finished = new Set(); // sessions whose windows may still come back

async function finish(visit, done) {
  forget();
  finished.add(visit.session);
  visit.window?.close();
  const id = done.connection?.id;
  if (done.state !== 'kept') {
    put(visit, { phase: done.state, problem: done.problem, reason: done.reason, duplicate: done.connection });
    say(t(`visit.${done.state}`, { bank: visit.bank.name }));
    return;
  }
  change({ connections: [...(state.connections ?? []).filter((c) => c.id !== id), done.connection] });
  await reload();
  hurry();
  change({ visit: null });
  location.hash = `#/connections/${id}?${visit.purpose === 'connect' ? 'new' : 'back'}`;
}

function stop() {
  forget();
  const visit = state.visit;
  visit?.window?.close();
  change({ visit: null });
  if (visit?.connection) go('connections', visit.connection);
}

// What is remembered are ids and names, never a token.
function remember(visit) {
  const { session, bank, provider, purpose, connection, expires, url } = visit;
  sessionStorage.setItem(kept, JSON.stringify({ session, bank: { ...bank, logo: '' }, provider, purpose, connection, expires, url, book: openBook() }));
}

const forget = () => sessionStorage.removeItem(kept);

const channel = new BroadcastChannel('bank visits');

channel.onmessage = ({ data }) => {
  if (!data.back) return;
  if (finished.has(data.back)) {
    channel.postMessage({ heard: data.back });
  } else if (data.back === state.visit?.session) {
    put(state.visit, { back: true, phase: 'finishing' });
    channel.postMessage({ heard: data.back });
  }
};

// comeBack is for the page to which the bank sends the person. It promises whether another page has been waiting, which
// then goes on; if none has, this one does.
export function comeBack(session) {
  return new Promise((done) => {
    const timer = setTimeout(() => done(false), 500);
    const listen = ({ data }) => {
      if (data.heard !== session) return;
      clearTimeout(timer);
      done(true);
    };
    channel.addEventListener('message', listen);
    channel.postMessage({ back: session });
  });
}

// resume goes on with a visit that left from this tab, or from a page that is gone.
export function resume(session) {
  const before = JSON.parse(sessionStorage.getItem(kept) ?? '{}');
  const known = before.session === session ? before : {};
  if (known.book && !openBook()) {
    const url = new URL(location.href);
    url.searchParams.set('book', known.book);
    history.replaceState(null, '', url);
  }
  const visit = { bank: { name: '' }, purpose: 'connect', ...known, session, phase: 'finishing', fresh: true, back: false };
  put(visit, {});
  return visit;
}

export const goOn = (visit) => poll(visit);

// What the person sees of it.

export function visiting() {
  const visit = state.visit;
  const bank = visit.bank.name || t('visit.bank');
  return [h('div', { class: 'visit', key: 'visit' }, (views[visit.phase] ?? ended)(visit, bank))];
}

const leave = () => button(t('cancel'), stop);

const views = {
  starting: (visit, bank) => [heading(t('visit.opening', { bank })), spinner(t(visit.module ? 'visit.starting.widget' : 'visit.starting')), h('p', { class: 'actions' }, leave())],
  open: (visit, bank) => [
    heading(t('visit.open', { bank })), spinner(t('visit.open.detail', { bank })),
    h('p', { class: 'actions' }, opener(visit, t('visit.again')), leave()), trouble(bank),
  ],
  blocked: (visit, bank) => [
    heading(t('visit.open', { bank })), notice('warn', h('p', null, t('visit.blocked'))),
    h('p', { class: 'actions' }, opener(visit, t('visit.go', { bank }), 'primary'), leave()), trouble(bank),
  ],
  closed: (visit, bank) => [
    heading(t('visit.open', { bank })), notice('warn', h('p', null, t('visit.closed', { bank }))), spinner(t('visit.looking')),
    h('p', { class: 'actions' }, opener(visit, t('visit.again'), 'primary'), leave()), trouble(bank),
  ],
  widget: (visit, bank) => [heading(t('visit.open', { bank })), spinner(t('visit.widget'))],
  finishing: (visit, bank) => [heading(t('visit.finishing', { bank })), spinner(t('visit.finishing.detail')), h('p', { class: 'actions' }, leave())],
  busy: (visit, bank) => [heading(t('visit.finishing', { bank })), notice('warn', h('p', null, t('error.busy'))), spinner(t('visit.looking')), h('p', { class: 'actions' }, leave())],
  duplicate: (visit, bank) => [
    heading(t('visit.ended', { bank })), notice('warn', h('p', null, t('visit.duplicate', { bank }))),
    h('p', { class: 'actions' },
      visit.duplicate ? button(t('visit.see'), () => { stop(); go('connections', visit.duplicate.id); }, { kind: 'primary' }) : null,
      button(t('back'), stop), contact(bank, { code: 'duplicate' })),
  ],
};

// opener is a link, which no blocker of pop-ups holds back; where windows can be opened, it opens one that closes by itself.
const opener = (visit, label, kind = '') =>
  h('a', { class: `button ${kind}`, href: visit.url, target: '_blank', rel: 'noopener', onclick: (e) => open(e, visit) }, label);

function open(e, visit) {
  visit.window?.close();
  const opened = blank(visit);
  if (opened) {
    e.preventDefault();
    send(opened, visit.url);
  }
  put(visit, { phase: 'open', window: opened });
}

const trouble = (bank) => h('p', { class: 'hint' }, t('visit.trouble'), ' ', contact(bank));

const fresh = ({ bank, provider, purpose, connection, start }) => ({ bank, provider, purpose, connection, start });

// why a visit ended without success. A bank that was known to be down may have had no chance to say so.
const why = (visit) => visit.reason ?? (visit.bank.health === 'down' ? 'bank_down' : '');

function ended(visit, bank) {
  const phase = visit.phase === 'cancelled' && why(visit) ? `reason.${why(visit)}` : visit.phase;
  const again = visit.start ? button(t('visit.retry'), () => begin(fresh(visit)), { kind: 'primary' }) : null;
  if (visit.phase === 'failed') return [heading(t('visit.ended', { bank })), refusal(visit.problem, bank, again, button(t('back'), stop))];
  return [
    heading(t('visit.ended', { bank })),
    notice(phase === 'lost' ? 'bad' : 'warn', h('p', null, t(`visit.${phase}`, { bank }))),
    h('p', { class: 'actions' }, again, button(t('back'), stop), contact(bank, { code: phase })),
    visit.phase === 'cancelled' ? h('p', { class: 'hint' }, icon('lock'), ' ', t('visit.nothing')) : null,
  ];
}
