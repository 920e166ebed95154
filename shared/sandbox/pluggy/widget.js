// Defines PluggyConnect: the bank's sign-in in a dialog over the page. It needs no styles, scripts or connections of the
// page but this file and a frame of the server that sent it.
(() => {
  'use strict';
  const base = '{{base}}';

  // query are the names under which the properties go to the page in the frame.
  const query = {
    connectToken: 'connect_token', updateItem: 'update_item', connectorIds: 'connector_ids', connectorTypes: 'connector_types',
    selectedConnectorId: 'selected_connector_id', countries: 'countries', includeSandbox: 'with_sandbox', language: 'lang', theme: 'theme',
    products: 'products', openFinanceParameters: 'open_finance_parameters', allowConnectInBackground: 'allow_connect_in_background',
    allowFullscreen: 'allow_fullscreen', connectorSortAlphabetically: 'connectors_sort_alphabetically',
  };

  const address = (props) => {
    const url = new URL(props.url ?? `${base}/connect`);
    for (const [prop, name] of Object.entries(query)) {
      const value = props[prop];
      if (value === undefined || value === null) continue;
      url.searchParams.set(name, typeof value === 'object' && !Array.isArray(value) ? JSON.stringify(value) : String(value));
    }
    url.searchParams.set('origin', window.location.origin);
    return url;
  };

  class PluggyConnect {
    #props;
    #dialog;
    #frame;
    #origin;
    #seen = 0;
    #opened = false;
    #listen = (event) => this.#hear(event);

    constructor(props) {
      if (!props?.connectToken) throw new Error('connectToken is required');
      this.#props = props;
    }

    init() {
      if (this.#dialog) return Promise.resolve();
      const url = address(this.#props);
      this.#origin = url.origin;
      this.#build(url);
      window.addEventListener('message', this.#listen);
      document.body.append(this.#dialog);
      this.#dialog.showModal();
      return new Promise((resolve) => this.#frame.addEventListener('load', () => resolve(), { once: true }));
    }

    show() {
      if (this.#dialog && !this.#dialog.open) this.#dialog.showModal();
      return Promise.resolve();
    }

    hide() {
      this.#dialog?.close();
      this.#tell('onHide');
      return Promise.resolve();
    }

    destroy() {
      window.removeEventListener('message', this.#listen);
      this.#dialog?.remove();
      this.#dialog = undefined;
      return Promise.resolve();
    }

    #build(url) {
      this.#dialog = document.createElement('dialog');
      this.#dialog.setAttribute('aria-label', 'Pluggy Connect');
      this.#dialog.addEventListener('cancel', (event) => { event.preventDefault(); this.#close(); });
      this.#frame = document.createElement('iframe');
      this.#frame.title = 'Pluggy Connect';
      this.#frame.src = url.href;
      Object.assign(this.#dialog.style, {
        width: 'min(26rem, 100vw)', height: 'min(42rem, 100vh)', maxWidth: 'none', maxHeight: 'none', padding: '0', border: '0', borderRadius: '1rem',
        overflow: 'hidden',
      });
      Object.assign(this.#frame.style, { width: '100%', height: '100%', border: '0', display: 'block' });
      this.#dialog.append(this.#frame);
    }

    #close() {
      this.destroy();
      this.#tell('onClose');
    }

    #tell(callback, ...values) {
      this.#props[callback]?.(...values);
    }

    // Every page in the frame tells all that happened so far, with numbers, so that what is lost or told twice does no harm.
    #hear(event) {
      if (event.source !== this.#frame.contentWindow || event.origin !== this.#origin || !Array.isArray(event.data?.pluggy)) return;
      if (!this.#opened) {
        this.#opened = true;
        this.#tell('onOpen');
      }
      for (const { n, kind, payload } of event.data.pluggy) {
        if (n <= this.#seen) continue;
        this.#seen = n;
        if (kind === 'event') this.#tell('onEvent', payload);
        else if (kind === 'success') this.#tell('onSuccess', payload);
        else if (kind === 'error') this.#tell('onError', payload);
        else if (kind === 'close') this.#close();
      }
    }
  }

  window.PluggyConnect = PluggyConnect;
})();
