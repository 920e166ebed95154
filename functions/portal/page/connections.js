// User Connections: everything that is connected to the person, whichever Book is open.

import { h } from './dom.js';
import { ago, daysUntil, has, moment, t } from './text.js';
import { post } from './api.js';
import { act, adds, bookName, change, edits, hurry, linkOf, note, openBook, place, reload, state, to } from './state.js';
import { badge, button, confirm, contact, heading, link, mark, notice, outcome, refusal, spinner, toBook } from './ui.js';
import { label, open, progress } from './link.js';
import { addAccounts, reconnect, visiting } from './visit.js';

export function connections() {
  const { rest: [id], query } = place();
  const all = state.connections;
  if (state.visit?.connection) return visiting();
  if (!all) return [heading(t('connections')), spinner(t('loading'))];
  const one = id && all.find((c) => c.id === id);
  if (one && (query.has('new') || query.has('back'))) return arrived(one, query.has('new'));
  return [
    heading(t('connections')),
    h('p', { class: 'lead' }, t('connections.lead')),
    all.length ? all.map((c) => card(c)) : empty(),
  ];
}

const empty = () =>
  h('div', { class: 'empty' }, h('p', null, t('connections.none')), h('p', { class: 'actions' }, link(t('connections.connect'), to('banks'), { class: 'button primary' })));

// arrived is where the person comes back to from the bank.
const arrived = (c, isNew) => [
  heading(t(isNew ? 'connections.new' : 'connections.back', { bank: c.institution })),
  h('p', { class: 'lead' }, lead(c, isNew)),
  card(c),
  c.accounts.some((a) => linkOf(c.id, a.key)) ? h('p', null, toBook(t('book.see', { book: state.book.name }))) : null,
  h('p', null, link(t('connections.all'), to('connections'))),
];

function lead(c, isNew) {
  if (!isNew) return t('connections.back.lead');
  if (!state.book) return t('connections.new.nobook');
  return edits() ? t('connections.new.lead', { book: state.book.name }) : t('connections.new.shared', { book: state.book.name });
}

const thingOf = (c) => `connection ${c.id}`;

function card(c) {
  const thing = thingOf(c);
  const busy = Boolean(state.busy[thing]);
  return h('article', { class: 'card', key: c.id, 'aria-label': c.institution },
    h('header', null, mark(c.institution, c),
      h('div', null, h('h2', null, c.institution), h('p', { class: 'small' }, read(c))),
      badge(c.status, statusOf(c))),
    c.status === 'connected' ? null : notice(c.status === 'disconnected' || c.status === 'stopping' ? '' : 'warn', h('p', null, messageOf(c)), ['needs_you', 'bank_unavailable'].includes(c.status) ? h('p', null, contact(c.institution, { code: c.status })) : null),
    c.new_accounts ? notice('', h('p', null, t(adds(c) ? 'connections.opened' : 'connections.opened.anew', { bank: c.institution }))) : null,
    accounts(c),
    books(c, busy),
    outcome(thing, c.institution),
    h('p', { class: 'actions' }, actions(c, busy)));
}

const read = (c) => (c.last_sync ? h('span', { title: moment(c.last_sync) }, t('connections.read', { ago: ago(c.last_sync) })) : t('connections.unread'));

export const statusOf = (c) =>
  c.status === 'expiring' ? t('connection.expiring', { n: daysUntil(c.consent_expires) }) : t(`connection.${c.status}`);

const messageOf = (c) => (c.need && has(`connection.needs_you.${c.need}`) ? t(`connection.needs_you.${c.need}`, { bank: c.institution }) : has(`connection.${c.status}.detail`) ? t(`connection.${c.status}.detail`, { bank: c.institution }) : c.message);

// Accounts, each with what it feeds and Link Account. It serves Book Integrations too, for what others have offered.
export function accounts(c) {
  if (!c.accounts.length) return h('p', { class: 'hint' }, t('accounts.none'));
  return h('ul', { class: 'rows', 'aria-label': t('accounts.of', { bank: c.institution }) }, c.accounts.map((a) =>
    h('li', { key: a.key, 'aria-label': label(a) },
      h('div', { class: 'row' },
        h('div', { class: 'grow' }, h('strong', null, label(a)), ' ', h('span', { class: 'small' }, [t(`account.${a.type}`), a.currency].join(' · ')), uses(c, a)),
        linkOrUse(c, a)))));
}

// uses are the Books that an account feeds, for its owner.
function uses(c, a) {
  const feeds = (c.integrations ?? []).filter((i) => i.key === a.key && i.book !== openBook());
  return feeds.length ? h('p', { class: 'small' }, feeds.map((i) => h('span', { key: i.id, class: 'use' }, t('accounts.feeds', { account: i.account_name, book: i.book_name })))) : null;
}

function linkOrUse(c, a) {
  const i = linkOf(c.id, a.key);
  if (i) {
    return h('div', { class: 'fed' }, h('p', { class: 'small' }, link(t('accounts.here', { account: i.account_name }), to('integrations', i.id))), progress(i));
  }
  if (!a.linkable) return h('span', { class: 'hint' }, t('accounts.unlinkable'));
  const gone = ['disconnected', 'stopping'].includes(c.status);
  if (gone) return null;
  if (!state.book) return h('span', { class: 'hint' }, t('accounts.choose'));
  if (!edits()) return h('span', { class: 'hint' }, t('accounts.editors'));
  return button(t('link'), () => open(c, a), { 'aria-label': t('link.title', { account: label(a) }) });
}

// books are those to which the connection is offered, and whose editors may link its accounts.
function books(c, busy) {
  const offered = c.offered ?? [];
  const others = (state.books ?? []).filter((b) => !offered.includes(b.id));
  const name = (id) => bookName(id) ?? c.integrations?.find((i) => i.book === id)?.book_name ?? t('books.unknown');
  return h('div', { class: 'offers' },
    h('h3', { id: `offers-${c.id}` }, t('offers')),
    offered.length
      ? h('ul', { class: 'chips', 'aria-labelledby': `offers-${c.id}` }, offered.map((id) =>
        h('li', { key: id }, h('span', null, name(id)), button(t('offers.stop'), () => ask('stop', c, id), { kind: 'quiet', disabled: busy, 'aria-label': t('offers.stop.from', { book: name(id) }) }))))
      : h('p', { class: 'hint' }, t('offers.none')),
    others.length ? h('div', { class: 'field inline' },
      h('label', { for: `offer-${c.id}` }, t('offers.add')),
      h('select', { id: `offer-${c.id}`, value: '', disabled: busy, onchange: (e) => { if (e.target.value) offer(c, e.target.value, true); } },
        h('option', { key: '', value: '' }, t('offers.choose')), others.map((b) => h('option', { key: b.id, value: b.id }, b.name)))) : null);
}

async function offer(c, book, offered) {
  const done = await act(thingOf(c), () => post('connect/offer', { connection: c.id, book, offered }));
  if (!done) return false;
  note(thingOf(c), { text: t(`offer.${done.state}`, { book: bookName(book) ?? '' }) });
  await reload();
  return true;
}

function actions(c, busy) {
  const live = !['disconnected', 'stopping'].includes(c.status);
  const repair = ['needs_you', 'expiring', 'disconnected'].includes(c.status);
  return [
    live && c.status !== 'needs_you' ? button(t('sync'), () => sync(thingOf(c), { connection: c.id }), { busy, disabled: resting(c), 'aria-describedby': resting(c) ? `rest-${c.id}` : undefined }) : null,
    c.status !== 'stopping' ? button(t('reconnect'), () => reconnect(c), { kind: repair ? 'primary' : '', disabled: busy }) : null,
    live && adds(c) ? button(t('accounts.add'), () => addAccounts(c), { kind: c.new_accounts ? 'primary' : '', disabled: busy }) : null,
    live || c.status === 'stopping' ? button(t('disconnect'), () => ask('disconnect', c), { kind: 'danger', disabled: busy || c.status === 'stopping' }) : null,
    resting(c) && live ? h('span', { class: 'hint', id: `rest-${c.id}` }, t('sync.next', { ago: ago(c.next_sync) })) : null,
  ];
}

export const resting = (c) => Boolean(c.next_sync) && Date.parse(c.next_sync) > Date.now();

// sync asks for a look at the bank now. It says when the next is allowed.
export async function sync(thing, body) {
  const asked = await act(thing, () => post('portal/sync', body));
  if (!asked) {
    const problem = state.notes[thing]?.problem;
    if (problem?.code === 'just_synced') note(thing, { text: t('sync.just', { ago: ago(Date.now() + problem.seconds * 1000) }) });
    return;
  }
  note(thing, { text: t('sync.asked') });
  hurry();
}

// What is asked before something ends.

function ask(kind, c, book) {
  change({ dialog: { kind, connection: c.id, book }, notes: { ...state.notes, [kind]: undefined } });
}

const close = () => change({ dialog: null });

const stops = (list) =>
  list.length ? h('ul', { class: 'stops' }, list.map((i) => h('li', { key: i.id }, t('stops.one', { bank: label(i), account: i.account_name, book: i.book_name })))) : h('p', null, t('stops.none'));

export function disconnecting() {
  const c = state.connections.find((one) => one.id === state.dialog.connection);
  if (!c) return null;
  return confirm({
    key: 'disconnect', title: t('disconnect.title', { bank: c.institution }), label: t('disconnect'), busy: Boolean(state.busy.disconnect), close,
    note: refused('disconnect', c), run: () => disconnect(c),
  }, h('p', null, t('disconnect.lead')), stops(c.integrations ?? []), h('p', { class: 'hint' }, t('disconnect.stays')));
}

const refused = (thing, c) => (state.notes[thing]?.problem ? refusal(state.notes[thing].problem, c.institution) : null);

async function disconnect(c) {
  const done = await act('disconnect', () => post('disconnect', { connection: c.id }));
  if (!done) return;
  close();
  note(thingOf(c), { text: t(`disconnect.${done.state}`) });
  hurry();
  await reload();
}

export function stopping() {
  const { connection, book } = state.dialog;
  const c = state.connections.find((one) => one.id === connection);
  if (!c) return null;
  return confirm({
    key: 'stop', title: t('offers.stop.title', { book: bookName(book) ?? t('books.unknown') }), label: t('offers.stop'), busy: Boolean(state.busy[thingOf(c)]), close,
    note: refused(thingOf(c), c), run: async () => { if (await offer(c, book, false)) close(); },
  }, h('p', null, t('offers.stop.lead', { bank: c.institution })), stops((c.integrations ?? []).filter((i) => i.book === book)));
}
