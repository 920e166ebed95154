// Book Integrations: everything that is configured on the open Book, and what others have offered to it.

import { h } from './dom.js';
import { ago, amount, day, has, t } from './text.js';
import { post } from './api.js';
import { act, change, connectionOf, edits, hurry, loadAttention, loadIntegrations, note, openBook, place, reload, state, to } from './state.js';
import { badge, button, confirm, heading, icon, link, mark, notice, outcome, refusal, spinner, toBook, toRecord } from './ui.js';
import { accounts, resting, statusOf, sync } from './connections.js';
import { label, open, progress } from './link.js';

export function integrations() {
  const { rest: [id] } = place();
  if (!state.integrations) return [heading(t('integrations')), spinner(t('loading'))];
  const { integrations: all, offered } = state.integrations;
  const others = offered.filter((c) => !c.mine);
  return [
    heading(t('integrations')),
    h('p', { class: 'lead' }, t('integrations.lead', { book: state.book.name })),
    all.length ? all.map((i) => card(i, i.id === id)) : empty(offered),
    all.length ? h('p', { class: 'hint' }, toBook(t('book.see', { book: state.book.name }))) : null,
    all.length && edits() && offered.some((c) => c.mine) ? h('p', { class: 'hint' }, link(t('integrations.more'), to('connections'))) : null,
    others.length ? h('section', { 'aria-labelledby': 'offered' },
      h('h2', { id: 'offered' }, t('offered')), h('p', { class: 'hint' }, t('offered.lead')), others.map(shared)) : null,
  ];
}

const empty = (offered) =>
  h('div', { class: 'empty' }, h('p', null, t(offered.length ? 'integrations.none.offered' : 'integrations.none')),
    h('p', { class: 'actions' }, offered.some((c) => c.mine)
      ? link(t('connections'), to('connections'), { class: 'button primary' })
      : link(t('connections.connect'), to('banks'), { class: offered.length ? 'button' : 'button primary' })));

// shared is a connection of somebody else: its accounts and status, and nothing private.
const shared = (c) =>
  h('article', { class: 'card', key: c.id, 'aria-label': c.institution },
    h('header', null, mark(c.institution, c), h('div', null, h('h3', null, c.institution), h('p', { class: 'small' }, t('offered.by'))), badge(c.status, statusOf(c))),
    c.status === 'needs_you' ? notice('warn', h('p', null, t('integration.needs_owner.detail', { bank: c.institution }))) : null,
    accounts(c));

const thingOf = (i) => `integration ${i.id}`;

function card(i, here) {
  const thing = thingOf(i);
  const busy = Boolean(state.busy[thing]);
  const title = t('integrations.title', { account: label(i), to: i.account_name });
  return h('article', { class: here ? 'card here' : 'card', key: i.id, id: `i-${i.id}`, 'aria-label': title },
    h('header', null, mark(i.institution, connectionOf(i.connection)),
      h('div', null, h('h2', { class: 'flow' }, h('span', null, label(i)), icon('right'), h('span', null, i.account_name)), h('p', { class: 'small' }, [i.institution, i.currency].join(' · '))),
      badge(i.status, t(`integration.${i.status}`))),
    ['live', 'importing'].includes(i.status) ? null : notice(i.status === 'paused' ? '' : 'warn', h('p', null, messageOf(i))),
    h('dl', { class: 'facts' },
      fact(t('facts.from'), day(i.from)),
      fact(t('facts.pending'), t(i.pending ? 'yes' : 'no')),
      fact(t('facts.as'), i.posts_as)),
    progress(i),
    attention(i),
    outcome(thing, i.institution),
    edits() ? h('p', { class: 'actions' }, actions(i, busy)) : h('p', { class: 'hint' }, t('integrations.editors')));
}

const fact = (name, value) => h('div', { key: name }, h('dt', null, name), h('dd', null, value));

const messageOf = (i) => (has(`integration.${i.status}.detail`) ? t(`integration.${i.status}.detail`, { bank: i.institution, email: i.posts_as }) : i.message);

function actions(i, busy) {
  const connection = connectionOf(i.connection);
  const account = connection?.accounts.find((a) => a.key === i.key);
  const still = ['disconnected', 'stopping', 'needs_owner'].includes(i.status);
  return [
    account && !['disconnected', 'stopping'].includes(i.status) ? button(t('configure'), () => open(connection, account, i), { disabled: busy, kind: ['account_gone', 'account_archived', 'no_access', 'consent_required'].includes(i.status) ? 'primary' : '' }) : null,
    account && !still ? button(t(i.paused ? 'resume' : 'pause'), () => pause(i), { busy, kind: i.paused ? 'primary' : '' }) : null,
    connection && !still && !i.paused ? button(t('sync'), () => sync(thingOf(i), { connection: i.connection, book: openBook() }), { disabled: busy || resting(connection), 'aria-describedby': resting(connection) ? `rest-${i.id}` : undefined }) : null,
    account && !still && !i.paused ? button(t('again'), () => ask('again', i), { disabled: busy }) : null,
    button(t('remove'), () => ask('remove', i), { kind: 'danger', disabled: busy }),
    connection && !still && !i.paused && resting(connection) ? h('span', { class: 'hint', id: `rest-${i.id}` }, t('sync.next', { ago: ago(connection.next_sync) })) : null,
  ];
}

// again is what is saved where nothing but one thing changes.
const again = (i) => ({ book: i.book, connection: i.connection, key: i.key, account: i.account, from: i.from, insist: true });

async function pause(i) {
  const saved = await act(thingOf(i), () => post('link', { ...again(i), paused: !i.paused }));
  if (!saved) return;
  note(thingOf(i), { text: t(i.paused ? 'resumed' : 'paused') });
  hurry();
  await loadIntegrations();
}

// What a person should look at.

function attention(i) {
  const n = i.progress.aside + i.progress.flagged;
  const rows = state.attention[i.id];
  const vanished = i.progress.vanished ? notice('warn', h('p', null, t('attention.vanished', { n: i.progress.vanished }))) : null;
  if (!n) return vanished;
  return [vanished, h('details', {
    key: 'attention', class: 'attention', ontoggle: (e) => { if (e.target.open) readAttention(i); },
  }, h('summary', null, icon('warn'), t('attention')), rows ? table(i, rows) : spinner(t('loading')), outcome(`attention ${i.id}`, i.institution))];
}

const readAttention = (i) => act(`attention ${i.id}`, () => loadAttention(i.id));

function table(i, rows) {
  if (!rows.length) return h('p', { class: 'hint' }, t('attention.none'));
  return h('ul', { class: 'rows' }, rows.map((r, n) => h('li', { key: n }, h('div', { class: 'row' },
    h('div', { class: 'when' }, r.date ? day(r.date) : '–', h('br'), r.amount ? h('span', { class: 'amount' }, amount(r.direction === 'out' ? `-${r.amount}` : r.amount, i.currency)) : null),
    h('div', { class: 'grow' }, h('strong', null, t(`reason.${r.reason}`)), h('p', { class: 'small' }, has(`reason.${r.reason}.detail`) ? t(`reason.${r.reason}.detail`) : r.message),
      r.record ? h('p', { class: 'small' }, toRecord(t('attention.record'), r.record, { 'aria-label': t('attention.record.of', { date: day(r.date) }) })) : null)))));
}

// What is asked before something ends, or begins again.

const ask = (kind, i) => change({ dialog: { kind, integration: i.id }, notes: { ...state.notes, [kind]: undefined } });
const close = () => change({ dialog: null });
const asked = () => state.integrations?.integrations.find((i) => i.id === state.dialog.integration);
const refused = (thing, i) => (state.notes[thing]?.problem ? refusal(state.notes[thing].problem, i.institution) : null);

export function removing() {
  const i = asked();
  if (!i) return null;
  return confirm({
    key: 'remove', title: t('remove.title', { account: label(i) }), label: t('remove'), busy: Boolean(state.busy.remove), close, note: refused('remove', i), run: () => remove(i),
  }, h('p', null, t('remove.lead', { bank: label(i), account: i.account_name, book: i.book_name })), h('p', { class: 'hint' }, t('remove.stays')));
}

async function remove(i) {
  const done = await act('remove', () => post('remove', { integration: i.id }));
  if (!done) return;
  close();
  note('removed', { text: t(`remove.${done.state}`, { account: label(i) }) });
  hurry();
  await reload();
}

export function importing() {
  const i = asked();
  if (!i) return null;
  return confirm({
    key: 'again', title: t('again.title'), label: t('again.run'), kind: 'primary', busy: Boolean(state.busy.again), close, note: refused('again', i), run: () => importAgain(i),
  }, h('p', null, t('again.lead', { account: i.account_name, date: day(i.from) })), h('p', { class: 'hint' }, t('again.posted')));
}

async function importAgain(i) {
  const saved = await act('again', () => post('link', { ...again(i), trashed: true }));
  if (!saved) return;
  close();
  note(thingOf(i), { text: t('again.asked') });
  hurry();
  await loadIntegrations();
}
