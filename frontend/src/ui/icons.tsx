import type { ReactNode } from 'react';

function icon(paths: ReactNode) {
  return function Icon({ size = 16 }: { size?: number }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth={1.6}
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {paths}
      </svg>
    );
  };
}

export const PlusIcon = icon(<path d="M10 4v12M4 10h12" />);
export const ComposeIcon = icon(
  <>
    <path d="M9 4H5.5A1.5 1.5 0 0 0 4 5.5v9A1.5 1.5 0 0 0 5.5 16h9a1.5 1.5 0 0 0 1.5-1.5V11" />
    <path d="m8.5 11.5.4-2.4 6-6a1.4 1.4 0 0 1 2 2l-6 6z" />
  </>,
);
export const SendIcon = icon(<path d="M10 16V4.5M5 9.2l5-5 5 5" />);
export const StopIcon = icon(<rect x="5.5" y="5.5" width="9" height="9" rx="1.8" fill="currentColor" stroke="none" />);
export const CopyIcon = icon(
  <>
    <rect x="7.5" y="7.5" width="9" height="9" rx="2" />
    <path d="M12.5 4.8A1.8 1.8 0 0 0 10.9 3.5H5.5a2 2 0 0 0-2 2v5.4a1.8 1.8 0 0 0 1.3 1.7" />
  </>,
);
export const CheckIcon = icon(<path d="m4.5 10.5 3.6 3.6 7.4-8" />);
export const RetryIcon = icon(
  <>
    <path d="M16 10a6 6 0 1 1-1.9-4.4L16 7.4" />
    <path d="M16 3.6v3.8h-3.8" />
  </>,
);
export const ContinueIcon = icon(<path d="M4 5v10M8 5.5l7.5 4.5L8 14.5z" />);
export const AttachIcon = icon(
  <path d="m15.8 9.4-5.9 5.9a3.6 3.6 0 0 1-5.1-5.1l6.2-6.2a2.4 2.4 0 0 1 3.4 3.4l-6.2 6.2a1.2 1.2 0 0 1-1.7-1.7l5.6-5.6" />,
);
export const FileIcon = icon(
  <>
    <path d="M11.5 3H6.6A1.6 1.6 0 0 0 5 4.6v10.8A1.6 1.6 0 0 0 6.6 17h6.8a1.6 1.6 0 0 0 1.6-1.6V6.5z" />
    <path d="M11.5 3v3.5H15" />
  </>,
);
export const PencilIcon = icon(<path d="m4.3 15.7.7-3.2 8.3-8.3a1.5 1.5 0 0 1 2.2 0l.3.3a1.5 1.5 0 0 1 0 2.2L7.5 15z" />);
export const TrashIcon = icon(
  <path d="M4 5.8h12M8 5.5V4.3c0-.5.4-.8.8-.8h2.4c.4 0 .8.3.8.8v1.2M5.5 6l.6 9c0 .8.7 1.5 1.5 1.5h4.8c.8 0 1.4-.7 1.5-1.5l.6-9M8.5 9v4.5M11.5 9v4.5" />,
);
export const MenuIcon = icon(<path d="M3.5 6h13M3.5 10h13M3.5 14h9" />);
export const CloseIcon = icon(<path d="m5.5 5.5 9 9M14.5 5.5l-9 9" />);
export const ArrowDownIcon = icon(<path d="M10 4v11.5M5 10.8l5 5 5-5" />);
export const ThumbUpIcon = icon(
  <path d="M6.5 9v7.5H4V9zM6.5 9l3-5.5c1.2 0 2 .8 2 2V8h3.6c1 0 1.7.9 1.5 1.8l-1 5c-.2.9-.8 1.7-1.8 1.7H6.5" />,
);
export const ThumbDownIcon = icon(
  <path d="M6.5 11V3.5H4V11zM6.5 11l3 5.5c1.2 0 2-.8 2-2V12h3.6c1 0 1.7-.9 1.5-1.8l-1-5c-.2-.9-.8-1.7-1.8-1.7H6.5" />,
);
export const ChevronIcon = icon(<path d="m7.5 5 5 5-5 5" />);
export const SettingsIcon = icon(
  <>
    <circle cx="10" cy="10" r="2.5" />
    <path d="M8.6 3.2h2.8l.4 1.9 1.5.9 1.9-.6 1.4 2.4-1.4 1.3v1.8l1.4 1.3-1.4 2.4-1.9-.6-1.5.9-.4 1.9H8.6l-.4-1.9-1.5-.9-1.9.6-1.4-2.4 1.4-1.3V9.1L3.4 7.8l1.4-2.4 1.9.6 1.5-.9z" />
  </>,
);
export const SunIcon = icon(
  <>
    <circle cx="10" cy="10" r="3.3" />
    <path d="M10 2.8v1.4M10 15.8v1.4M2.8 10h1.4M15.8 10h1.4M4.9 4.9l1 1M14.1 14.1l1 1M4.9 15.1l1-1M14.1 5.9l1-1" />
  </>,
);
export const MoonIcon = icon(<path d="M16.5 11.8A6.8 6.8 0 0 1 8.2 3.5a6.8 6.8 0 1 0 8.3 8.3z" />);
export const SystemIcon = icon(
  <>
    <rect x="3" y="4" width="14" height="9.5" rx="1.6" />
    <path d="M7.5 16.5h5M10 13.5v3" />
  </>,
);
export const SignOutIcon = icon(
  <path d="M8 3.8H5.5A1.7 1.7 0 0 0 3.8 5.5v9a1.7 1.7 0 0 0 1.7 1.7H8M12.5 13.5 16 10l-3.5-3.5M16 10H8" />,
);
export const AlertIcon = icon(
  <>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6.5v4.2M10 13.4v.1" />
  </>,
);
export const ToolIcon = icon(
  <path d="M12.2 3.6a4 4 0 0 0-3.3 5.7l-5.1 5.1a1.3 1.3 0 0 0 1.8 1.8l5.1-5.1a4 4 0 0 0 5.2-5.2l-2.3 2.3-2-.4-.4-2z" />,
);
export const SearchIcon = icon(
  <>
    <circle cx="9" cy="9" r="5" />
    <path d="m12.8 12.8 3.4 3.4" />
  </>,
);
export const PinIcon = icon(<path d="M10 12.5V17M6 12.5h8M7.2 3.5h5.6M8 3.5v4.2c0 1.6-2 2.4-2 4.8M12 3.5v4.2c0 1.6 2 2.4 2 4.8" />);
export const KeyboardIcon = icon(
  <>
    <rect x="2.5" y="5.5" width="15" height="9" rx="1.6" />
    <path d="M5.5 8.5h.1M8.5 8.5h.1M11.5 8.5h.1M14.5 8.5h.1M7 11.7h6" />
  </>,
);
