import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ChatApp } from './chat/app';
import { languageOf } from './i18n/catalog';
import { LanguageProvider } from './i18n/language';
import { Observable } from './store/observable';
import './styles/index.css';
import { ChatPage } from './ui/ChatPage';
import { Page } from './ui/context';
import { themeStore } from './ui/theme';

const root = document.getElementById('root');
if (!root) throw new Error('The page has no #root');

const { tenantName = '', tenantSlug = '', userEmail = '', userId = '', language: code = 'en' } = root.dataset;
const { settings: settingsUrl = '', logo: logoUrl = '' } = root.dataset;
const language = new Observable(languageOf(code));
const theme = themeStore();
const app = new ChatApp({ tenantName, tenantSlug, userEmail, userId, settingsUrl, logoUrl });
app.start();

createRoot(root).render(
  <StrictMode>
    <Page value={{ app, language, theme }}>
      <LanguageProvider source={language}>
        <ChatPage />
      </LanguageProvider>
    </Page>
  </StrictMode>,
);
