// Banks: a country, a bank of it, what is agreed to, and the bank's own sign-in.

import { h } from './dom.js';
import { compare, country as nameOf, rich, t } from './text.js';
import { get } from './api.js';
import { change, go, loadCountries, openBook, place, providerOf, state, to } from './state.js';
import { button, contact, heading, icon, link, logo, notice, refusal, say, spinner } from './ui.js';
import { connect, visiting } from './visit.js';

export function banks() {
  if (state.visit && !state.visit.connection) return visiting();
  const [code, provider, id] = place().rest;
  if (!code) return countries();
  return id ? privacy(code, provider, id) : banksOf(code);
}

// The map.

let world = null; // outlines by country
let region = 'world';
const regions = { world: null, americas: '20 130 900 852', europe: '770 140 600 300' };

async function loadWorld() {
  world = {};
  world = await (await fetch(new URL('world.json', import.meta.url))).json();
  change();
}

function countries() {
  if (!world) loadWorld();
  if (!state.countries) {
    return [heading(t('banks')), state.notes.countries ? refusal(state.notes.countries.problem, '', retry()) : spinner(t('loading'))];
  }
  const served = [...state.countries].sort((a, b) => compare(nameOf(a), nameOf(b)));
  return [
    heading(t('banks')),
    h('p', { class: 'lead' }, t('banks.lead')),
    map(served),
    h('h2', { id: 'countries' }, t('banks.countries')),
    h('ul', { class: 'countries', 'aria-labelledby': 'countries' },
      served.map((code) => h('li', { key: code }, link(nameOf(code), to('banks', code))))),
    h('p', { class: 'hint' }, rich('banks.elsewhere', { contact: contact() })),
  ];
}

const retry = () => button(t('retry'), () => readCountries());

export const readCountries = () =>
  loadCountries().catch((problem) => change({ notes: { ...state.notes, countries: { problem } } }));

function map(served) {
  if (!world?.viewBox) return h('div', { class: 'map' });
  const others = Object.entries(world).filter(([code]) => code !== 'viewBox' && !served.includes(code)).map(([, d]) => d).join('');
  const drawn = served.filter((code) => world[code]);
  return h('figure', { class: 'map' },
    h('svg', { viewBox: regions[region] ?? world.viewBox, role: 'group', 'aria-label': t('banks.map'), class: region, onkeydown: along },
      h('path', { class: 'land', d: others, 'aria-hidden': 'true' }),
      drawn.map((code, i) =>
        h('a', { key: code, href: to('banks', code), 'aria-label': nameOf(code), tabindex: i === 0 ? '0' : '-1' },
          h('title', null, nameOf(code)), h('path', { d: world[code] })))),
    h('figcaption', null,
      h('span', { class: 'legend' }, t('banks.legend')),
      h('span', { class: 'segments', role: 'group', 'aria-label': t('banks.region') },
        Object.keys(regions).map((name) =>
          h('button', { key: name, type: 'button', 'aria-pressed': name === region ? 'true' : 'false', onclick: () => { region = name; change(); } },
            t(`banks.region.${name}`))))));
}

// along goes from country to country with the arrow keys, so that the map is one stop of the Tab key.
function along(e) {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (!steps[e.key]) return;
  const all = [...e.currentTarget.querySelectorAll('a')];
  const next = all[(all.indexOf(document.activeElement) + steps[e.key] + all.length) % all.length];
  next.focus();
  e.preventDefault();
}

// The banks of a country.

let query = '';
let timer;

function search(code, text) {
  query = text;
  clearTimeout(timer);
  timer = setTimeout(() => find(code, text.trim()), 250);
  change();
}

async function find(code, q) {
  const key = `${code} ${q}`;
  if (state.banks[key]?.list || state.banks[key]?.reading) return;
  change({ banks: { ...state.banks, [key]: { reading: true } } });
  try {
    const { banks: list } = await get('banks', { country: code, q });
    change({ banks: { ...state.banks, [key]: { list } } });
    if (q === query.trim()) say(t('banks.found', { n: list.length }));
  } catch (problem) {
    change({ banks: { ...state.banks, [key]: { problem } } });
  }
}

let inCountry = '';

function banksOf(code) {
  if (inCountry !== code) {
    inCountry = code;
    query = '';
  }
  const found = state.banks[`${code} ${query.trim()}`];
  if (!found) find(code, query.trim());
  return [
    back(to('banks'), t('banks.all')),
    heading(t('banks.in', { country: nameOf(code) })),
    h('div', { class: 'search', role: 'search' }, icon('search'),
      h('input', {
        type: 'search', id: 'search', 'aria-label': t('banks.search'), placeholder: t('banks.search'), value: query, autocomplete: 'off', maxlength: '100',
        oninput: (e) => search(code, e.target.value),
      })),
    results(code, found),
  ];
}

function results(code, found) {
  if (found?.problem) {
    return refusal(found.problem, '', button(t('retry'), () => {
      change({ banks: {} });
    }));
  }
  if (!found?.list) return spinner(t('banks.searching'));
  if (!found.list.length) return notice('', h('p', null, t('banks.none', { query: query.trim() })), h('p', { class: 'actions' }, contact(query.trim())));
  return [
    query.trim() ? null : h('p', { class: 'hint' }, t('banks.best')),
    h('ul', { class: 'tiles', 'aria-label': t('banks.list') }, found.list.map((bank) =>
      h('li', { key: bank.provider + bank.id },
        h('a', { class: 'tile', href: to('banks', code, bank.provider, bank.id) }, logo(bank), h('span', null, bank.name, health(bank)), icon('right'))))),
  ];
}

const health = (bank) => (bank.health ? h('span', { class: 'badge warn' }, t(`health.${bank.health}`)) : null);

const back = (href, label) => h('p', { class: 'back' }, h('a', { href }, icon('back'), label));

// What is agreed to.

const chosen = (provider, id) => {
  for (const { list } of Object.values(state.banks)) {
    const bank = list?.find((b) => b.provider === provider && b.id === id);
    if (bank) return bank;
  }
  return null;
};

function privacy(code, provider, id) {
  const bank = chosen(provider, id);
  if (!bank) return alone(code, provider, id);
  const mine = state.connections?.filter((c) => c.institution_id === id && c.provider === provider) ?? [];
  const widget = providerOf(provider)?.widget;
  return [
    back(to('banks', code), t('banks.in', { country: nameOf(code) })),
    h('div', { class: 'title' }, logo(bank), heading(t('privacy.title', { bank: bank.name }))),
    mine.length ? already(mine[0]) : null,
    bank.health ? notice('warn', h('p', null, t(`health.${bank.health}.detail`, { bank: bank.name }))) : null,
    h('section', { class: 'card prose', 'aria-label': t('privacy') },
      h('h2', null, icon('lock'), t('privacy')),
      h('ul', null, ['reads', 'never', 'keeps', 'shares', 'ends'].map((key) => h('li', { key }, t(`privacy.${key}`, { bank: bank.name })))),
      h('p', null, rich('privacy.policy', { policy: h('a', { href: state.config.privacy, target: '_blank', rel: 'noopener' }, t('privacy.link')) }))),
    h('p', { class: 'hint' }, t(widget ? 'privacy.next.widget' : 'privacy.next', { bank: bank.name })),
    h('p', { class: 'actions' },
      button(t('privacy.continue'), () => connect({ book: openBook(), country: code, provider, bank }), { kind: 'primary' }),
      link(t('cancel'), to('banks', code), { class: 'button' })),
  ];
}

// alone is for an address that was opened by itself, so that the bank was never in a list.
function alone(code, provider, id) {
  const key = `${code} ${provider} ${id}`;
  if (!state.banks[key]) findOne(key, { country: code, provider, id });
  const problem = state.banks[key]?.problem;
  if (!problem) return [heading(t('banks')), spinner(t('loading'))];
  return [back(to('banks', code), t('banks.in', { country: nameOf(code) })), heading(t('banks')), refusal(problem, '')];
}

async function findOne(key, one) {
  state.banks[key] = { reading: true };
  try {
    const bank = await get('bank', one);
    change({ banks: { ...state.banks, [key]: { list: [bank] } } });
  } catch (problem) {
    change({ banks: { ...state.banks, [key]: { problem } } });
  }
}

const already = (connection) =>
  notice('warn', h('p', null, t('privacy.already', { bank: connection.institution })),
    h('p', { class: 'actions' }, button(t('privacy.see'), () => go('connections', connection.id))));
